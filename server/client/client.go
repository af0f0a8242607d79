// Package client talks to a node's API.
//
//	c := &client.Client{Addr: "127.0.0.1:4000"}
//	var status map[string]any
//	err := c.Call(ctx, "cluster.status", nil, &status)
//
// Errors are *errs.Error with the kind the node gave, or node_unavailable when
// nobody listens at the address.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// pollWait is how long one read of a stream waits for something to come.
const pollWait = 10 * time.Second

// Client is a node's API. Its fields are set before it is used.
type Client struct {
	Addr  string // host:port of the node's HTTP
	Token string // "" shows none
	// HTTP does the requests; nil is http.DefaultClient.
	HTTP *http.Client
}

// request and response are JSON-RPC 2.0.
type request struct {
	Version string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params,omitempty"`
}

type response struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int           `json:"code"`
		Message string        `json:"message"`
		Data    *errs.Problem `json:"data"`
	} `json:"error"`
}

// Call runs an operation. result is a pointer to unmarshal into, a
// *json.RawMessage to get it as it is, or nil.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	body, err := json.Marshal(request{"2.0", 1, method, params})
	if err != nil {
		return errs.Wrap(errs.BadParameter, err, "the parameters of %s cannot be written as JSON", method)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.Addr+"/rpc", bytes.NewReader(body))
	if err != nil {
		return errs.Wrap(errs.BadParameter, err, "%q is not the address of a node", c.Addr)
	}
	r.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	hc := c.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	answer, err := hc.Do(r)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return errs.Wrap(errs.ConnectionLost, err, "the answer of %s broke off", c.Addr)
	}
	return decode(c.Addr, method, raw, result)
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return errs.Wrap(errs.From(ctx.Err()).Kind, ctx.Err(), "no answer from %s", c.Addr)
	case errors.Is(err, syscall.ECONNREFUSED):
		return errs.New(errs.NodeUnavailable, "no node listens at %s; start one with `glassbox dev` or `glassbox serve`, or say where with --addr", c.Addr)
	default:
		return errs.Wrap(errs.ConnectionLost, err, "no answer from %s", c.Addr)
	}
}

func decode(addr, method string, raw []byte, result any) error {
	var r response
	if err := json.Unmarshal(raw, &r); err != nil {
		return errs.New(errs.Internal, "what answers at %s is no Glassbox node: %.80q", addr, raw)
	}
	if r.Error != nil {
		if r.Error.Data != nil && r.Error.Data.Kind != "" {
			return r.Error.Data.Err()
		}
		return errs.New(errs.KindOfCode(r.Error.Code), "%s", r.Error.Message)
	}
	if r.Result == nil { // refused before it was JSON-RPC: a problem document
		var p errs.Problem
		if json.Unmarshal(raw, &p) == nil && p.Kind != "" {
			return p.Err()
		}
		return errs.New(errs.Internal, "what answers at %s is no Glassbox node: %.80q", addr, raw)
	}
	switch result := result.(type) {
	case nil:
		return nil
	case *json.RawMessage:
		*result = r.Result
		return nil
	default:
		if err := json.Unmarshal(r.Result, result); err != nil {
			return errs.Wrap(errs.Internal, err, "the result of %s is not what was expected; client and node may be of different versions", method)
		}
		return nil
	}
}

// Stream follows a followed operation (event.list, process.logs): emit gets
// each item and the cursor behind it. It returns nil at the end of the
// sequence, and the error of the context, of a read or of emit otherwise. To go
// on after an error, pass the last cursor as the parameter after.
func (c *Client) Stream(ctx context.Context, method string, params map[string]any, emit func(cursor string, item json.RawMessage) error) error {
	p := map[string]any{}
	for name, value := range params {
		p[name] = value
	}
	p["wait_ms"] = pollWait.Milliseconds()
	for {
		var page map[string]json.RawMessage
		if err := c.Call(ctx, method, p, &page); err != nil {
			return err
		}
		items, err := itemsOf(page)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		for _, item := range items {
			if err := emit(cursorOf(item), item); err != nil {
				return err
			}
		}
		if string(page["end"]) == "true" {
			return nil
		}
		p["after"] = page["next"]
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
