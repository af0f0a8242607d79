package message

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Stdin is a program's standard input. Closing it ends a write that waits.
type Stdin interface {
	io.WriteCloser
	SetWriteDeadline(t time.Time) error
}

// outgoing is a message that is to be written. Exactly one of the writer and
// the one who waits takes it out of the queue.
type outgoing struct {
	ctx   context.Context
	line  []byte
	taken atomic.Bool
	done  chan error // takes the outcome, if the writer took it
}

// put has a line written and returns when it is, or is certainly not, or ctx
// ended in the middle.
func (c *Conn) put(ctx context.Context, line []byte) error {
	o := &outgoing{ctx: ctx, line: line, done: make(chan error, 1)}
	select {
	case <-c.over:
		return c.unwritten()
	default:
	}
	select {
	case c.queue <- o:
	default:
		return errs.New(errs.RateLimited, "%d messages wait for the program to read its standard input: this one was not written", MaxQueue)
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
	case <-c.over:
	}
	if o.taken.Swap(true) {
		return <-o.done // the writer is at it, and heeds both
	}
	select {
	case <-c.over:
		return c.unwritten()
	default:
		return unread()
	}
}

// refuse answers a request of the program. It does not wait: a program that asks
// and does not read would wait for itself.
func (c *Conn) refuse(id []byte) {
	select {
	case c.queue <- &outgoing{ctx: context.Background(), line: refusal(id), done: make(chan error, 1)}:
	default:
	}
}

// unwritten is the error of what came too late for the program.
func (c *Conn) unwritten() error {
	return errs.New(errs.NodeUnavailable, "the program %s before the message was written", c.how())
}

// unread is the error of what was not written because the program does not read.
func unread() error {
	return errs.New(errs.RateLimited, "the program does not read its standard input, which is full: the message was not written")
}

// write writes what is in the queue until the conversation is over.
func (c *Conn) write(in Stdin) {
	for {
		select {
		case <-c.over:
			return
		case o := <-c.queue:
			if o.taken.Swap(true) {
				continue // given up meanwhile
			}
			n, err := writeUntil(o.ctx, in, o.line)
			o.done <- c.outcome(o.ctx, n, err)
			if n > 0 && n < len(o.line) { // or the next line would be part of this one
				_, _ = in.Write(o.line[n:])
			}
		}
	}
}

// writeUntil writes until ctx ends.
func writeUntil(ctx context.Context, in Stdin, line []byte) (n int, err error) {
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		_ = in.SetWriteDeadline(time.Unix(1, 0)) // what has passed ends it
	})
	n, err = in.Write(line)
	if !stop() {
		<-fired
		_ = in.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// outcome says what became of a message of which n bytes were written.
func (c *Conn) outcome(ctx context.Context, n int, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && n == 0:
		return unread()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errs.From(ctx.Err())
	case n == 0:
		return errs.Wrap(errs.NodeUnavailable, err, "the program has ended, or closed its standard input: the message was not written")
	default:
		return errs.Wrap(errs.ConnectionLost, err, "the program ended, or closed its standard input, while the message was written")
	}
}
