package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/server/client"
)

// reconnectAfter is the pause before following goes on at another node.
const reconnectAfter = 200 * time.Millisecond

// nodeLost are the kinds of errors after which another node is asked: this one
// is dead, or silent, or has given up what it was asked because it is stopping.
var nodeLost = []errs.Kind{errs.ConnectionLost, errs.NodeUnavailable, errs.Cancelled}

// following is a sequence and how far it was read.
type following struct {
	method string
	next   map[string]any // parameters of the next read, at any node
}

// follow shows the items of a followed operation as they come, until it is
// interrupted or the sequence ends. When the node is lost it goes on with
// another one of the cluster, if one is known.
func (a *app) follow(ctx context.Context, method string, params map[string]json.RawMessage) error {
	f := &following{method: method, next: map[string]any{}}
	for name, value := range params {
		f.next[name] = value
	}
	fruitless := false // the node before was lost before it answered
	for {
		c, err := a.remote(ctx)
		if err != nil {
			return err
		}
		answered, err := a.readOn(ctx, c, f)
		switch kind := errs.KindOf(err); {
		case err == nil, ctx.Err() != nil:
			return nil
		case !slices.Contains(nodeLost, kind), a.client.addr != "":
			return err
		case !answered && (kind == errs.NodeUnavailable || fruitless):
			return err // nobody is left who would answer
		}
		fruitless = !answered
		fmt.Fprintf(a.err, "glassbox: %s; going on with another node\n", err)
		select {
		case <-time.After(reconnectAfter):
		case <-ctx.Done():
			return nil
		}
	}
}

// readOn reads from one node until that fails or the sequence ends, and reports
// whether the node answered at all.
func (a *app) readOn(ctx context.Context, c *client.Client, f *following) (answered bool, err error) {
	for {
		page, err := c.Page(ctx, f.method, f.next)
		if err != nil {
			return answered, err
		}
		answered, f.next = true, page.Next
		for _, item := range page.Items {
			if err := a.showItem(f.method, item); err != nil {
				return answered, err
			}
		}
		if page.End {
			return answered, nil
		}
	}
}
