package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// reconnectAfter is the pause before following goes on at another node.
const reconnectAfter = 200 * time.Millisecond

// follow shows the items of a followed operation as they come, until it is
// interrupted or the sequence ends. When the node is lost it goes on with
// another one of the cluster, if one is known.
func (a *app) follow(ctx context.Context, method string, params map[string]json.RawMessage) error {
	given := map[string]any{}
	for name, value := range params {
		given[name] = value
	}
	for {
		c, err := a.remote(ctx)
		if err != nil {
			return err
		}
		came := false
		err = c.Stream(ctx, method, given, func(cursor string, item json.RawMessage) error {
			came = true
			given["after"] = cursor
			return a.showItem(method, item)
		})
		switch kind := errs.KindOf(err); {
		case err == nil, ctx.Err() != nil:
			return nil
		case kind != errs.ConnectionLost && kind != errs.NodeUnavailable, a.client.addr != "":
			return err
		case kind == errs.NodeUnavailable && !came:
			return err
		}
		fmt.Fprintf(a.err, "glassbox: %s; going on with another node\n", err)
		select {
		case <-time.After(reconnectAfter):
		case <-ctx.Done():
			return nil
		}
	}
}
