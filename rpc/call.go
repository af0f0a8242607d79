package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// cancelMethod is the notification that tells the peer to give up a request,
// named as in the Language Server Protocol. Its params are {"id": …}.
const cancelMethod = "$/cancelRequest"

// call is one call or notification on its way. It travels through the library
// as an extra field of the request, so that the payload does not.
type call struct {
	params  json.RawMessage
	result  json.RawMessage
	failure json.RawMessage
	id      atomic.Uint64

	once sync.Once
	free func()
}

// answered gives the call's place among the pending ones back.
func (c *call) answered() {
	if c.free != nil {
		c.once.Do(c.free)
	}
}

func callOf(req *jsonrpc2.Request) *call {
	if req == nil {
		return nil
	}
	for _, field := range req.ExtraFields {
		if c, ok := field.Value.(*call); ok {
			return c
		}
	}
	return nil
}

// Call asks the peer and waits for its answer. params is marshalled to JSON, a
// json.RawMessage sent as it is; result is a pointer to unmarshal into, a
// *json.RawMessage to get the answer as it came, or nil.
//
// The error is an *errs.Error: the peer's own; node_unavailable if the request
// was not sent; connection_lost if the connection was lost after it was, and
// timeout or cancelled if the context ended first — then the peer is told to
// give up, but may have done it all the same.
func (c *Conn) Call(ctx context.Context, method string, params, result any) error {
	o := &call{}
	if err := o.encode(method, params); err != nil {
		return err
	}
	if err := c.fits("the parameters of "+method, o.params); err != nil {
		return err
	}
	if n := c.pending.Add(1); n > int64(c.cfg.MaxPending) {
		c.pending.Add(-1)
		return errs.New(errs.RateLimited, "%d calls to this peer wait for their answers, no more are sent; try again later", n-1)
	}
	o.free = func() { c.pending.Add(-1) }
	if err := ctx.Err(); err != nil {
		o.answered()
		return notSent(errs.From(err), method)
	}
	waiter, err := c.lib.DispatchCall(ctx, method, nil, jsonrpc2.ExtraField("call", o))
	if err != nil {
		o.answered()
		return c.lost(errs.NodeUnavailable, "%s was not sent", method)
	}
	c.sent.Add(1)
	switch err := waiter.Wait(ctx, nil); {
	case err == nil:
		return o.decode(method, result)
	case ctx.Err() != nil:
		c.cancel(o)
		return errs.Wrap(errs.From(ctx.Err()).Kind, ctx.Err(), "no answer to %s in time", method)
	default:
		o.answered()
		return c.lost(errs.ConnectionLost, "no answer to %s, it may have been done", method)
	}
}

// envelopeBytes is more than a message has around its payload, in any form.
const envelopeBytes = 1 << 10

// fits refuses what the peer would close the connection for: both sides are
// given the same limit.
func (c *Conn) fits(what string, payload json.RawMessage) error {
	if limit := c.cfg.MaxMessage - envelopeBytes; len(payload) > limit {
		return errs.New(errs.TooLarge, "%s have %d bytes, at most %d can be sent; send less at once, or page", what, len(payload), limit)
	}
	return nil
}

func notSent(e *errs.Error, method string) *errs.Error {
	return errs.New(e.Kind, "%s was not sent: %s", method, e.Message)
}

// lost is the error of a call on a connection that is closing.
func (c *Conn) lost(kind errs.Kind, format string, args ...any) *errs.Error {
	c.mu.Lock()
	reason := c.reason
	c.mu.Unlock()
	if reason == nil {
		reason = errs.New(errs.ConnectionLost, "the connection is closed")
	}
	return errs.Wrap(kind, reason, format, args...)
}

// cancel tells the peer that nobody waits any more. The call stays pending
// until the peer has answered.
func (c *Conn) cancel(o *call) {
	id := o.id.Load()
	params := json.RawMessage(fmt.Sprintf(`{"id":%d}`, id))
	// If this fails the connection is closing and the peer will know.
	_ = c.Notify(context.Background(), cancelMethod, params)
}

func (o *call) encode(method string, params any) (err error) {
	if o.params, err = encode(params); err != nil {
		return errs.Wrap(errs.BadParameter, err, "the parameters of %s cannot be written as JSON", method)
	}
	return nil
}

func (o *call) decode(method string, result any) error {
	if o.failure != nil {
		return decodeError(o.failure)
	}
	switch result := result.(type) {
	case nil:
		return nil
	case *json.RawMessage:
		*result = o.result
		return nil
	default:
		if err := json.Unmarshal(o.result, result); err != nil {
			return errs.Wrap(errs.Internal, err, "the answer to %s is not what was expected", method)
		}
		return nil
	}
}

// Notify tells the peer something and does not wait: neither for an answer,
// there is none, nor for the peer to read it.
func (c *Conn) Notify(ctx context.Context, method string, params any) error {
	o := &call{}
	if err := o.encode(method, params); err != nil {
		return err
	}
	if err := c.lib.Notify(ctx, method, nil, jsonrpc2.ExtraField("call", o)); err != nil {
		return c.lost(errs.NodeUnavailable, "%s was not sent", method)
	}
	c.sent.Add(1)
	return nil
}
