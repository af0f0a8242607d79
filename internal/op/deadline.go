package op

import (
	"context"
	"sync"
	"time"
)

// deadlineContext is context.WithDeadline without a timer until somebody waits:
// most reads never do, and over HTTP the timer was the dearest part of a lookup.
type deadlineContext struct {
	parent context.Context
	at     time.Time

	mu     sync.Mutex
	inner  context.Context // made by the first that waits
	cancel context.CancelFunc
	over   bool // cancelled before anybody waited
}

// withTimeout is context.WithTimeout.
func withTimeout(parent context.Context, d time.Duration) (ctx *deadlineContext, cancel context.CancelFunc) {
	at := time.Now().Add(d)
	if sooner, ok := parent.Deadline(); ok && sooner.Before(at) {
		at = sooner
	}
	c := &deadlineContext{parent: parent, at: at}
	return c, c.end
}

func (c *deadlineContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}

// waited returns the context that has a timer.
func (c *deadlineContext) waited() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithDeadline(c.parent, c.at)
		if c.over {
			c.cancel()
		}
	}
	return c.inner
}

func (c *deadlineContext) Deadline() (time.Time, bool) { return c.at, true }
func (c *deadlineContext) Done() <-chan struct{}       { return c.waited().Done() }

func (c *deadlineContext) Err() error {
	c.mu.Lock()
	inner, over := c.inner, c.over
	c.mu.Unlock()
	switch {
	case inner != nil:
		return inner.Err()
	case c.parent.Err() != nil:
		return c.parent.Err()
	case !time.Now().Before(c.at):
		return context.DeadlineExceeded
	case over:
		return context.Canceled
	}
	return nil
}

// Value asks the context that has a timer, if there is one: so the contexts
// derived from this one find it, and need no goroutine to follow it.
func (c *deadlineContext) Value(key any) any {
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return c.parent.Value(key)
}
