package sandbox

import (
	"context"

	"github.com/glassbox-dev/glassbox/memdb"
)

// life is one start of a sandbox, until its end or the next one.
type life struct {
	why     string        // of a restart; "" for the first
	again   int           // how many others follow by themselves, if no start succeeds
	halt    chan struct{} // closed to make way for the next one
	settled chan struct{} // closed when the start succeeded or failed
}

func newLife(why string) *life {
	return &life{why: why, halt: make(chan struct{}), settled: make(chan struct{})}
}

// settle tells those who wait for the start, once. Only the tree's goroutine
// calls it, or that of its supervisor, which the tree awaits.
func (l *life) settle() {
	if !closed(l.settled) {
		close(l.settled)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// restart ends the present life and begins another one, which it returns. When
// one is about to begin already, it is that. If its start meets a passing shortage it
// is tried so many times again.
func (t *tree) restart(why string, again int) *life {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next = newLife(why)
		t.next.again = again
		close(t.life.halt)
	}
	return t.next
}

// newest returns the life to wait for; done if it is still the one given.
func (t *tree) newest(l *life) (_ *life, done bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.next != nil && !closed(t.next.settled):
		return t.next, t.next == l
	default:
		return t.life, t.life == l
	}
}

// reborn begins the next life; nil if the tree is to end instead.
func (t *tree) reborn(ctx context.Context) *life {
	if ctx.Err() != nil || t.isDestroyed() {
		return nil
	}
	t.mu.Lock()
	t.life, t.next, t.failure = t.next, nil, nil
	l := t.life
	t.mu.Unlock()
	exit := memdb.Exit{Cause: memdb.CauseKilled, By: "restarted " + l.why, At: t.m.now()}
	t.root.update(func() {
		if t.root.row.State != memdb.ProcessFailed {
			t.root.row.State, t.root.row.Exit = memdb.ProcessExited, &exit
		}
	})
	t.root.begin(t.root.reset)
	t.root.renew()
	t.setStatus(memdb.SandboxStarting, "restarted "+l.why)
	t.m.emit(Event{Type: SandboxRestarted, Subject: t.spec.ID, Data: t.current(), Why: "restarted " + l.why})
	return l
}

// until returns a context that ends with ctx, with the tree's destruction, and with
// the life; end ends it too.
func (t *tree) until(ctx context.Context, l *life) (_ context.Context, end context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	t.m.tasks.Go(func() { // ends with the context
		defer cancel()
		select {
		case <-t.destroyed:
		case <-l.halt:
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}
