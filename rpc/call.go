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
	bulk    bool // must leave the queue's reserve alone

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
// The error is an *errs.Error: the peer's own; rate_limited if the request was
// not sent because too much waits already, too_large if it would not fit a
// message, node_unavailable if it was not sent because the connection is closed;
// connection_lost if the connection was lost after it was, and timeout or
// cancelled if the context ended first — then the peer is told to give up, but
// may have done it all the same.
func (c *Conn) Call(ctx context.Context, method string, params, result any) error {
	o, err := c.newCall(method, params)
	if err != nil {
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
		return c.unsent(err, method)
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

// newCall makes a call or notification, if it fits a message: the peer would
// close the connection for a longer one. Both sides are given the same limit.
func (c *Conn) newCall(method string, params any) (*call, error) {
	raw, err := encode(params)
	if err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "the parameters of %s cannot be written as JSON", method)
	}
	if limit := c.payloadLimit() - len(method); len(raw) > limit {
		return nil, errs.New(errs.TooLarge, "the parameters of %s have %d bytes, at most %d can be sent; send less at once, or page", method, len(raw), limit)
	}
	return &call{params: raw}, nil
}

// envelopeBytes is more than a message has around its payload, in any form.
const envelopeBytes = 1 << 10

// payloadLimit is how long params, result or error may be.
func (c *Conn) payloadLimit() int { return c.cfg.MaxMessage - envelopeBytes }

func notSent(e *errs.Error, method string) *errs.Error {
	return errs.New(e.Kind, "%s was not sent: %s", method, e.Message)
}

// unsent is the error of what the queue did not take.
func (c *Conn) unsent(err error, method string) *errs.Error {
	if e := errs.From(err); e.Kind == errs.RateLimited {
		return notSent(e, method)
	}
	return c.lost(errs.NodeUnavailable, "%s was not sent", method)
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
	// If this fails the connection is closing and the peer will know, or more
	// waits to be sent than there is room for, and the call is done in vain.
	_ = c.Notify(context.Background(), cancelMethod, params)
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
// there is none, nor for the peer to read it. It fails like [Conn.Call].
func (c *Conn) Notify(ctx context.Context, method string, params any) error {
	o, err := c.newCall(method, params)
	if err != nil {
		return err
	}
	return c.notify(ctx, method, o)
}

// NotifyWait is Notify for streams: where that fails with rate_limited, it waits
// until the peer has read enough, or the context ends.
func (c *Conn) NotifyWait(ctx context.Context, method string, params any) error {
	o, err := c.newCall(method, params)
	if err != nil {
		return err
	}
	o.bulk = true
	for {
		err := c.notify(ctx, method, o)
		if errs.KindOf(err) != errs.RateLimited {
			return err
		}
		if err := c.stream.out.await(ctx, len(o.params)+len(method)); err != nil {
			return notSent(errs.From(err), method)
		}
	}
}

func (c *Conn) notify(ctx context.Context, method string, o *call) error {
	if err := c.lib.Notify(ctx, method, nil, jsonrpc2.ExtraField("call", o)); err != nil {
		return c.unsent(err, method)
	}
	c.sent.Add(1)
	return nil
}
