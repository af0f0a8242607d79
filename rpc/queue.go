package rpc

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

const (
	// drainTimeout bounds what a connection that closes may still take to send.
	drainTimeout = 250 * time.Millisecond
	// smallMessage is the longest message that may use the queue's reserve.
	smallMessage = 4 << 10
	// keepBuffer is the largest buffer that is kept for reuse: an idle
	// connection holds no memory for its busiest moment.
	keepBuffer = 64 << 10
)

// queue is the outgoing side of a connection: one goroutine writes what has
// piled up in one go. What this side asks is refused when the queue is full;
// what it answers waits for room, since an answer must not get lost. The
// connection is closed only if nothing at all can be written for a while.
type queue struct {
	limit   int
	reserve int // beyond the limit, for urgent messages
	timeout time.Duration
	write   func(b []byte, deadline time.Time) (n int, err error) // writes a piece of b
	fail    func(error)                                           // closes the connection; called once, by run

	mu      sync.Mutex
	buf     []byte
	spare   []byte
	writing int // bytes that run has taken and not written yet
	closed  bool
	drainBy time.Time
	freed   chan struct{} // closed when there is more room; nil if nobody waits
	wake    chan struct{} // holds one token when there is something to do
}

func newQueue(limit int, timeout time.Duration, write func([]byte, time.Time) (int, error), fail func(error)) *queue {
	return &queue{limit: limit, reserve: limit / 8, timeout: timeout, write: write, fail: fail, wake: make(chan struct{}, 1)}
}

// add appends one message of about n bytes, which build appends to the buffer
// it is given, or refuses it.
func (q *queue) add(n int, urgent bool, build func([]byte) []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return net.ErrClosed
	case !q.room(n, urgent):
		return errs.New(errs.RateLimited, "%d bytes wait to be sent to this peer, the limit is %d; try again later, or send less at once", len(q.buf)+q.writing, q.limit)
	}
	q.append(build)
	return nil
}

// answer appends one message when there is room for it.
func (q *queue) answer(n int, urgent bool, build func([]byte) []byte) error {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return net.ErrClosed
		}
		if q.room(n, urgent) {
			q.append(build)
			q.mu.Unlock()
			return nil
		}
		freed := q.whenFreed()
		q.mu.Unlock()
		<-freed
	}
}

// await returns when there may be room for n bytes, or the queue is closed.
func (q *queue) await(ctx context.Context, n int) error {
	return q.until(ctx, func() bool { return q.room(n, false) })
}

// flushed returns when everything is written, the queue is closed or ctx ends.
func (q *queue) flushed(ctx context.Context) {
	_ = q.until(ctx, func() bool { return len(q.buf)+q.writing == 0 }) // either is fine
}

// until waits for a condition, looked at with mu held.
func (q *queue) until(ctx context.Context, ok func() bool) error {
	for {
		q.mu.Lock()
		if q.closed || ok() {
			q.mu.Unlock()
			return nil
		}
		freed := q.whenFreed()
		q.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// room says whether n bytes more may wait. An empty queue takes anything. The
// caller holds mu.
func (q *queue) room(n int, urgent bool) bool {
	have := len(q.buf) + q.writing
	if urgent {
		return have < q.limit+q.reserve
	}
	return have == 0 || have+n <= q.limit
}

// append is to be called with mu held.
func (q *queue) append(build func([]byte) []byte) {
	q.buf = append(build(q.buf), '\n')
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// whenFreed returns what is closed at the next change for the better. The
// caller holds mu.
func (q *queue) whenFreed() <-chan struct{} {
	if q.freed == nil {
		q.freed = make(chan struct{})
	}
	return q.freed
}

// free wakes all who wait. The caller holds mu.
func (q *queue) free() {
	if q.freed != nil {
		close(q.freed)
		q.freed = nil
	}
}

// size returns how many bytes wait.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.buf) + q.writing
}

// close lets run send what waits, within drainTimeout, and end.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed, q.drainBy = true, time.Now().Add(drainTimeout)
	}
	q.free()
	q.signal()
}

// run writes until the queue is closed and empty or a write fails.
func (q *queue) run() {
	for range q.wake {
		for {
			batch, closed := q.take()
			if len(batch) == 0 {
				if closed {
					q.fail(nil)
					return
				}
				break
			}
			if err := q.send(batch); err != nil {
				q.close()
				q.fail(err)
				return
			}
			q.giveBack(batch)
		}
	}
}

// send writes a batch piece by piece. A piece of which something was written in
// time shows that the peer reads.
func (q *queue) send(batch []byte) error {
	for len(batch) > 0 {
		n, err := q.write(batch, q.deadline())
		q.wrote(n)
		batch = batch[n:]
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return q.writeError(err)
		}
	}
	return nil
}

func (q *queue) deadline() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return q.drainBy
	}
	return time.Now().Add(q.timeout)
}

func (q *queue) writeError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errs.Wrap(errs.ConnectionLost, err, "the peer has not read for %s", q.timeout)
	}
	return errs.Wrap(errs.ConnectionLost, err, "the connection cannot be written to")
}

func (q *queue) take() (batch []byte, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, q.buf, q.spare = q.buf, q.spare[:0], nil
	q.writing = len(batch)
	return batch, q.closed
}

func (q *queue) wrote(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing -= n
	q.free()
}

func (q *queue) giveBack(batch []byte) {
	if cap(batch) > keepBuffer {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = batch[:0]
}
