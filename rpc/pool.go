package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

const (
	// keepWorkers is how many idle workers a connection keeps.
	keepWorkers = 4
	// idleTime is how often the others are counted: those that nobody needed in
	// all that time end.
	idleTime = time.Second
)

// pool runs the handler: inline for the methods that need order, on a bounded
// number of goroutines for the rest.
type pool struct {
	ctx     context.Context
	conn    *Conn
	h       Handler
	inline  func(method string) bool
	settled chan struct{} // holds one token when the last job has ended
	wg      sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	workers int
	idle    []*worker // who became idle last is used first, so that the others can end
	unused  int       // how many of them nobody has needed since the last count
	count   *time.Timer
	backlog []*job
	taken   int             // jobs at work or waiting
	bytes   int             // of their parameters
	open    map[string]*job // requests at work or waiting, by the id the peer gave
}

// worker is a goroutine that handles jobs.
type worker struct {
	next chan *job // the one to do next; nil to end. An idle worker has room for it
}

func newPool(ctx context.Context, c *Conn, h Handler) *pool {
	p := &pool{ctx: ctx, conn: c, h: h, inline: c.cfg.Inline, settled: make(chan struct{}, 1), open: map[string]*job{}}
	if more, ok := h.(Inliner); ok {
		p.inline = func(method string) bool { return c.cfg.Inline(method) || more.Inline(method) }
	}
	return p
}

// submit hands a job to a worker, or to the backlog, or refuses it.
func (p *pool) submit(j *job) *errs.Error {
	w, refused := p.take(j)
	if w != nil {
		w.next <- j // it has room, and nobody else has it any more
	}
	return refused
}

// take puts a job on the books, and returns the idle worker to give it to, nil
// if somebody has it already.
func (p *pool) take(j *job) (*worker, *errs.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cfg := &p.conn.cfg
	switch {
	case p.closed:
		return nil, nil // nobody is there to be told
	case p.taken >= cfg.Workers+cfg.Backlog:
		return nil, errs.New(errs.RateLimited, "%d requests of this connection are at work or wait; wait for answers before sending more", p.taken)
	case p.taken > 0 && p.bytes+len(j.params) > cfg.RequestBytes:
		return nil, errs.New(errs.RateLimited, "the requests of this connection that are at work or wait have %d bytes, the limit is %d; wait for answers before sending more", p.bytes, cfg.RequestBytes)
	}
	p.taken++
	p.bytes += len(j.params)
	if j.id != nil {
		p.open[string(j.id)] = j
	}
	switch last := len(p.idle) - 1; {
	case last >= 0:
		w := p.idle[last]
		p.idle = p.idle[:last]
		p.unused = min(p.unused, last)
		return w, nil
	case p.workers < cfg.Workers:
		p.workers++
		p.wg.Go(func() { p.work(j) })
	default:
		p.backlog = append(p.backlog, j)
	}
	return nil, nil
}

func (p *pool) work(j *job) {
	w := &worker{next: make(chan *job, 1)}
	for j != nil {
		p.run(j)
		var idle bool
		if j, idle = p.finish(j, w); idle {
			j = <-w.next
		}
	}
}

// finish takes a job off the books, and returns the next one for its worker or
// lets it idle. Neither ends it.
func (p *pool) finish(j *job, w *worker) (next *job, idle bool) {
	j.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.bytes -= len(j.params)
	if p.open[string(j.id)] == j {
		delete(p.open, string(j.id))
	}
	if p.taken == 0 {
		select {
		case p.settled <- struct{}{}:
		default:
		}
	}
	switch {
	case p.closed:
		return nil, false
	case len(p.backlog) > 0:
		return p.nextWaiting(), false
	}
	p.idle = append(p.idle, w)
	if p.count == nil && len(p.idle) > keepWorkers {
		p.countIdle()
	}
	return nil, true
}

// nextWaiting takes the first job of the backlog. The caller holds mu.
func (p *pool) nextWaiting() *job {
	j := p.backlog[0]
	p.backlog[0] = nil // or the array would hold it
	if p.backlog = p.backlog[1:]; len(p.backlog) == 0 {
		p.backlog = nil
	}
	return j
}

// countIdle begins to count who is not needed. The caller holds mu.
func (p *pool) countIdle() {
	p.unused = len(p.idle)
	p.count = time.AfterFunc(idleTime, func() { end(p.thinOut()) })
}

// thinOut takes out the workers that nobody has needed since it last looked,
// but a few.
func (p *pool) thinOut() []*worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	n := max(0, min(p.unused, len(p.idle)-keepWorkers))
	out := p.idle[:n]
	p.idle = append([]*worker(nil), p.idle[n:]...)
	p.workers -= n
	if p.count = nil; len(p.idle) > keepWorkers {
		p.countIdle()
	}
	return out
}

func end(idle []*worker) {
	for _, w := range idle {
		w.next <- nil
	}
}

// running returns how many workers are at work.
func (p *pool) running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers - len(p.idle)
}

// quiet returns when no job is at work or waits, or ctx ends.
func (p *pool) quiet(ctx context.Context) {
	for p.busy() {
		select {
		case <-p.settled:
		case <-ctx.Done():
			return
		}
	}
}

func (p *pool) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken > 0
}

// wait ends the idle workers, and returns when those at work, whose contexts
// have ended, have too. What is in the backlog is not begun.
func (p *pool) wait() {
	end(p.close())
	p.wg.Wait()
}

func (p *pool) close() (idle []*worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.backlog = true, nil
	if p.count != nil {
		p.count.Stop()
	}
	idle, p.idle = p.idle, nil
	return idle
}
