package rpc

import (
	"context"
	"encoding/json"
	"runtime/debug"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// job is one request of the peer.
type job struct {
	incoming
	inline bool
	ctx    context.Context
	cancel context.CancelFunc
}

// handle takes a request on the reading goroutine.
func (p *pool) handle(in incoming) {
	if p.ctx.Err() != nil {
		return // it had been read ahead
	}
	p.conn.received.Add(1)
	j := &job{incoming: in}
	switch {
	case j.id == nil && j.method == cancelMethod:
		p.cancel(j.params)
	case p.inline(j.method):
		j.inline, j.ctx = true, p.ctx
		p.run(j)
	default:
		j.ctx, j.cancel = context.WithCancel(p.ctx)
		if refused := p.submit(j); refused != nil {
			j.cancel()
			j.inline = true // the answer is given here
			p.reply(j, nil, refused)
		}
	}
}

// run calls the handler and answers. A panic is answered with internal.
func (p *pool) run(j *job) {
	if j.batch.isFull() && j.id != nil {
		p.reply(j, nil, notDone)
		return
	}
	defer func() {
		if r := recover(); r != nil {
			p.conn.cfg.Log.Error("handler panicked", "method", j.method, "panic", r, "stack", string(debug.Stack()))
			p.reply(j, nil, errs.New(errs.Internal, "%s failed inside Glassbox: %v; the node's log has the stack", j.method, r))
		}
	}()
	result, err := p.h.Handle(j.ctx, p.conn, j.method, j.params)
	p.reply(j, result, err)
}

func (p *pool) reply(j *job, result any, err error) {
	if j.id == nil {
		if err != nil {
			p.conn.cfg.Log.Debug("notification failed", "method", j.method, "err", err)
		}
		return
	}
	limit := p.conn.payloadLimit() - len(j.id)
	raw, err := encodeResult(j.method, result, err)
	if err == nil && len(raw) > limit {
		err = tooLong(j.method, len(raw), limit)
	}
	if err != nil {
		p.conn.stream.answer(&j.incoming, j.inline, nil, encodeErrorWithin(err, limit))
		return
	}
	p.conn.stream.answer(&j.incoming, j.inline, raw, nil)
}

func encodeResult(method string, result any, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	raw, err := encode(result)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "the result of %s cannot be written", method)
	}
	return raw, nil
}

// tooLong is sent in place of a result that would not fit a message.
func tooLong(method string, have, limit int) error {
	e := errs.New(errs.TooLarge, "%s was done, but its result has %d bytes, at most %d can be sent; ask for less at once, or page", method, have, limit)
	e.Unsure = true // the kind means: not done
	return e
}

// cancel ends the context of a request; one that is answered already is
// nothing to cancel.
func (p *pool) cancel(params json.RawMessage) {
	var what struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(params, &what) != nil {
		return
	}
	p.mu.Lock()
	j := p.open[string(what.ID)]
	p.mu.Unlock()
	if j != nil {
		j.cancel()
	}
}
