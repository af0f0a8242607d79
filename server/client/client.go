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
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// Client is a node's API. Its fields are set before it is used.
type Client struct {
	Addr  string // of the node's HTTP, as ParseAddr takes it
	Token string // "" shows none
	// PollTimeout bounds one read of a stream; 0 is 15 s. Two thirds of it, at
	// most 10 s, are spent waiting for something to come; a node that is silent
	// for longer than all of it is taken for lost.
	PollTimeout time.Duration
	// HTTP does the requests; nil is http.DefaultClient.
	HTTP *http.Client
}

// request and response are JSON-RPC 2.0.
type request struct {
	Version string          `json:"jsonrpc"`
	ID      int             `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params,omitempty"`
}

type response struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int           `json:"code"`
		Message string        `json:"message"`
		Data    *errs.Problem `json:"data"`
	} `json:"error"`
}

// Call runs an operation. params are left out if they are nil, a nil map
// included. result is a pointer to unmarshal into, a *json.RawMessage to get it
// as it is, or nil.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	with, err := jsontext.Marshal(params)
	if string(with) == "null" {
		with = nil
	}
	var body []byte
	if err == nil {
		body, err = jsontext.Marshal(request{"2.0", 1, method, with})
	}
	if err != nil {
		return errs.Wrap(errs.BadParameter, err, "the parameters of %s cannot be written as JSON", method)
	}
	r, err := c.newRequest(ctx, http.MethodPost, "/rpc", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	_, raw, err := c.do(r)
	if err != nil {
		return err
	}
	return decode(c.Addr, method, raw, result)
}

// Live demands a sign of life, which needs no token and shows none. That a
// connection is accepted is none: the kernel does so for a frozen process.
func (c *Client) Live(ctx context.Context) error {
	r, err := c.newRequest(ctx, http.MethodGet, "/livez", nil)
	if err != nil {
		return err
	}
	status, raw, err := c.do(r)
	if err == nil && status != http.StatusOK {
		return errs.New(errs.Internal, "what answers at %s is no Glassbox node: %.80q", c.Addr, raw)
	}
	return err
}

func (c *Client) newRequest(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	addr, err := ParseAddr(c.Addr)
	if err != nil {
		return nil, err
	}
	return http.NewRequestWithContext(ctx, method, "http://"+addr+path, body)
}

// do returns the status and the body of the answer.
func (c *Client) do(r *http.Request) (int, []byte, error) {
	hc := c.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	answer, err := hc.Do(r)
	if err != nil {
		return 0, nil, c.unreachable(r.Context(), err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil, errs.Wrap(errs.ConnectionLost, err, "the answer of %s broke off", c.Addr)
	}
	return answer.StatusCode, raw, nil
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
