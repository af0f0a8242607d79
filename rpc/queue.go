package rpc

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// drainTimeout bounds what a connection that closes may still take to send.
const drainTimeout = 250 * time.Millisecond

// queue is the outgoing side of a connection: writers append and never wait;
// one goroutine writes what has piled up in one go. A queue over its limit, or
// a write over its deadline, closes the connection.
type queue struct {
	limit   int
	timeout time.Duration
	write   func(b []byte, deadline time.Time) error
	fail    func(error) // closes the connection; called at most once by run

	mu     sync.Mutex
	buf    []byte
	spare  []byte
	closed bool
	why    error         // of the closing, if the peer is to blame
	wake   chan struct{} // holds one token when there is something to do
}

func newQueue(limit int, timeout time.Duration, write func([]byte, time.Time) error, fail func(error)) *queue {
	return &queue{limit: limit, timeout: timeout, write: write, fail: fail, wake: make(chan struct{}, 1)}
}

// add appends one message, which add builds onto the buffer it is given.
func (q *queue) add(build func([]byte) []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return net.ErrClosed
	}
	before := len(q.buf)
	q.buf = append(build(q.buf), '\n')
	if len(q.buf) > q.limit && before > 0 {
		q.buf = q.buf[:before]
		q.closed = true
		q.why = errs.New(errs.ConnectionLost, "the peer does not read: %d bytes wait to be sent, the limit is %d", before, q.limit)
		q.signal()
		return q.why
	}
	q.signal()
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// size returns how many bytes wait.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.buf)
}

// close lets run send what waits, within drainTimeout, and end.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// run writes until the queue is closed and empty or a write fails.
func (q *queue) run() {
	for range q.wake {
		for {
			batch, closed := q.take()
			if len(batch) == 0 {
				if closed {
					q.fail(q.reason(nil))
					return
				}
				break
			}
			timeout := q.timeout
			if closed {
				timeout = drainTimeout
			}
			if err := q.write(batch, time.Now().Add(timeout)); err != nil {
				q.close()
				q.fail(q.reason(writeError(err, timeout)))
				return
			}
			q.giveBack(batch)
		}
	}
}

// reason is why the peer is given up: the first that was noticed.
func (q *queue) reason(err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.why != nil {
		return q.why
	}
	return err
}

func writeError(err error, timeout time.Duration) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errs.Wrap(errs.ConnectionLost, err, "the peer has not read for %s", timeout)
	}
	return errs.Wrap(errs.ConnectionLost, err, "the connection cannot be written to")
}

func (q *queue) take() (batch []byte, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, q.buf, q.spare = q.buf, q.spare[:0], nil
	return batch, q.closed
}

// keepBuffer is the largest buffer that is kept for reuse: an idle connection
// holds no memory for its busiest moment.
const keepBuffer = 64 << 10

func (q *queue) giveBack(batch []byte) {
	if cap(batch) > keepBuffer {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = batch[:0]
}
