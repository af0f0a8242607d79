package rpc

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"sync"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// pool runs the handler: inline for the methods that need order, on a bounded
// number of goroutines for the rest.
type pool struct {
	ctx  context.Context
	conn *Conn
	h    Handler
	jobs chan *job
	wg   sync.WaitGroup

	mu      sync.Mutex
	workers int
	idle    int
	taken   int             // jobs at work or waiting
	open    map[string]*job // requests at work or waiting, by the id the peer gave
}

// job is one request of the peer.
type job struct {
	method string
	params json.RawMessage
	id     uint64 // the library's; what the peer gave is in the stream
	key    string
	notif  bool
	ctx    context.Context
	cancel context.CancelFunc
}

func newPool(ctx context.Context, c *Conn, h Handler) *pool {
	return &pool{ctx: ctx, conn: c, h: h, jobs: make(chan *job, c.cfg.Workers+c.cfg.Backlog), open: map[string]*job{}}
}

// handle takes a request on the reading goroutine.
func (p *pool) handle(req *jsonrpc2.Request) {
	p.conn.received.Add(1)
	j := &job{method: req.Method, id: req.ID.Num, notif: req.Notif}
	if req.Params != nil {
		j.params = *req.Params
	}
	switch {
	case req.Notif && req.Method == cancelMethod:
		p.cancel(j.params)
	case p.conn.cfg.Inline(req.Method):
		j.ctx, j.cancel = p.ctx, func() {}
		p.run(j)
	default:
		p.submit(j)
	}
}

func (p *pool) submit(j *job) {
	j.ctx, j.cancel = context.WithCancel(p.ctx)
	if !j.notif {
		j.key = string(p.conn.stream.askedID(j.id))
	}
	p.mu.Lock()
	if p.taken == cap(p.jobs) {
		p.mu.Unlock()
		j.cancel()
		p.reply(j, nil, errs.New(errs.RateLimited, "%d requests of this connection are at work or wait; wait for answers before sending more", cap(p.jobs)))
		return
	}
	p.taken++
	if j.key != "" {
		p.open[j.key] = j
	}
	if p.idle <= len(p.jobs) && p.workers < p.conn.cfg.Workers {
		p.workers++
		p.wg.Go(p.work)
	}
	p.mu.Unlock()
	p.jobs <- j // there is room: no more are taken than fit
}

// work handles jobs until the connection closes.
func (p *pool) work() {
	for {
		p.setIdle(1)
		select {
		case j := <-p.jobs:
			p.setIdle(-1)
			p.run(j)
			p.finish(j)
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *pool) setIdle(change int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle += change
}

func (p *pool) finish(j *job) {
	j.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.open[j.key] == j {
		delete(p.open, j.key)
	}
}

// run calls the handler and answers. A panic is answered with internal.
func (p *pool) run(j *job) {
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
	if j.notif {
		if err != nil {
			p.conn.cfg.Log.Debug("notification failed", "method", j.method, "err", err)
		}
		return
	}
	resp := &jsonrpc2.Response{ID: jsonrpc2.ID{Num: j.id}}
	raw, encodeErr := encode(result)
	if err == nil && encodeErr != nil {
		err = errs.Wrap(errs.Internal, encodeErr, "the result of %s cannot be written", j.method)
	}
	if err == nil {
		err = p.conn.fits("the results of "+j.method, raw)
	}
	if err != nil {
		whole := encodeError(err)
		resp.Error = &jsonrpc2.Error{Data: &whole}
	} else {
		resp.Result = &raw
	}
	// If this fails the connection is closing, and the peer with it.
	_ = p.conn.lib.SendResponse(j.ctx, resp)
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

func (p *pool) running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers - p.idle
}

// wait returns when all workers have ended.
func (p *pool) wait() { p.wg.Wait() }

// askedID returns the id the peer gave to an open request.
func (s *stream) askedID(id uint64) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id].id
}
