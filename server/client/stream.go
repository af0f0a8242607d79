package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// defaultPollTimeout is the PollTimeout of a client that was given none. Two
// thirds of it, 10 s, are spent waiting for something to come.
const defaultPollTimeout = 15 * time.Second

// maxPollWait is as long as a node is asked to wait for something to come.
const maxPollWait = 10 * time.Second

// Page is one read of a followed operation (event.list, process.logs).
type Page struct {
	Items []json.RawMessage
	// Next are the parameters of the next read, which waits for something to
	// come. Another node of the cluster takes them too: where its sequence is
	// another one, it begins with an item that says so.
	Next map[string]any
	End  bool // nothing more can come
}

// Page reads the items there are behind the parameter after. A node that does
// not answer within PollTimeout is taken for lost.
func (c *Client) Page(ctx context.Context, method string, params map[string]any) (Page, error) {
	timeout := c.pollTimeout()
	poll, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	params = withWait(params)
	var members map[string]json.RawMessage
	if err := c.Call(poll, method, params, &members); err != nil {
		if poll.Err() != nil && ctx.Err() == nil {
			err = errs.New(errs.ConnectionLost, "no answer from %s for %s", c.Addr, timeout)
		}
		return Page{}, err
	}
	items, err := itemsOf(members)
	if err != nil {
		return Page{}, fmt.Errorf("%s: %w", method, err)
	}
	return Page{Items: items, Next: c.next(params, members), End: string(members["end"]) == "true"}, nil
}

// withWait returns parameters that say how long to wait: not at all in the
// first read, so that the cursor is known from the beginning. An operation that
// cannot be followed refuses them, rather than being run.
func withWait(params map[string]any) map[string]any {
	with := map[string]any{"wait_ms": 0}
	maps.Copy(with, params)
	return with
}

// next makes the parameters of the read behind a page, as op.Followed says.
func (c *Client) next(params map[string]any, page map[string]json.RawMessage) map[string]any {
	next := maps.Clone(params)
	for name := range next {
		if value, ok := page[name]; ok {
			next[name] = value
		}
	}
	if cursor, ok := page["next"]; ok {
		next["after"] = cursor
	}
	next["wait_ms"] = max(1, min(maxPollWait, c.pollTimeout()*2/3).Milliseconds())
	return next
}

func (c *Client) pollTimeout() time.Duration {
	if c.PollTimeout > 0 {
		return c.PollTimeout
	}
	return defaultPollTimeout
}

// Stream follows a followed operation: emit gets each item and the cursor
// behind it. It returns nil at the end of the sequence, and the error of the
// context, of a read or of emit otherwise. Who wants to go on after an error
// reads with [Client.Page] and keeps the page's Next.
func (c *Client) Stream(ctx context.Context, method string, params map[string]any, emit func(cursor string, item json.RawMessage) error) error {
	for {
		page, err := c.Page(ctx, method, params)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := emit(cursorOf(item), item); err != nil {
				return err
			}
		}
		if page.End {
			return nil
		}
		params = page.Next
	}
}

// itemsOf finds the items: the one array of the page that is not its errors.
func itemsOf(page map[string]json.RawMessage) ([]json.RawMessage, error) {
	for name, raw := range page {
		var items []json.RawMessage
		if name != "errors" && bytes.HasPrefix(raw, []byte("[")) {
			err := json.Unmarshal(raw, &items)
			return items, err
		}
	}
	return nil, errs.New(errs.NotAcceptable, "the operation cannot be followed: its result is no page")
}

func cursorOf(item json.RawMessage) string {
	var at struct {
		ID  string      `json:"id"`
		Seq json.Number `json:"seq"`
	}
	if json.Unmarshal(item, &at) != nil {
		return ""
	}
	if at.ID != "" {
		return at.ID
	}
	return at.Seq.String()
}
