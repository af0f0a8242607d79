package sandbox

import (
	"context"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Restart stops a sandbox as Destroy does, and when nothing of it runs any more
// starts it again: the same creation with the same spec, and a supervisor that
// counts its restarts anew. It returns when all children were started. A failed one
// is started again too. When ctx ends first the restart goes on. Kinds: not_found,
// conflict (it cannot be started, or was destroyed meanwhile), timeout.
func (m *Manager) Restart(ctx context.Context, id string) (memdb.Sandbox, error) {
	t, err := m.tree(id)
	if err != nil {
		return memdb.Sandbox{}, err
	}
	if _, err := t.placed(ctx); err != nil {
		return memdb.Sandbox{}, err
	}
	again := t.askRestart()
	select {
	case <-again:
		return t.running(ctx)
	case <-t.gone:
		return t.current(), errs.New(errs.Conflict, "sandbox %q was destroyed, or its node stopped, before it was started again", id)
	case <-ctx.Done():
		return t.current(), errs.Wrap(errs.Timeout, ctx.Err(), "sandbox %q is still stopping, then it is started again: ask for it with sandbox.info", id)
	}
}

// askRestart asks the tree's goroutine to begin anew; what it returns is closed when
// nothing of the former life is left. Requests that come together are one.
func (t *tree) askRestart() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.again == nil {
		t.again = make(chan struct{})
		if t.stopServing != nil {
			t.stopServing()
		}
	}
	return t.again
}

// lives serves until the tree is destroyed or ctx ends, once for each restart. A
// tree that has failed waits for any of the three.
func (t *tree) lives(ctx context.Context) {
	for {
		served, stop := context.WithCancel(ctx)
		t.mu.Lock()
		t.stopServing = stop
		if t.again != nil { // asked for before there was anything to stop
			stop()
		}
		t.mu.Unlock()
		if err := t.serve(served); err != nil && served.Err() == nil {
			t.fail(err)
			<-served.Done()
		}
		stop()
		if ctx.Err() != nil || !t.renew() {
			return
		}
	}
}

// renew begins a life of the tree, if one was asked for.
func (t *tree) renew() bool {
	t.mu.Lock()
	again := t.again
	if again == nil {
		t.mu.Unlock()
		return false
	}
	t.again, t.failure = nil, nil
	t.settle() // who waited for the former life's start waits for no other
	t.settled = make(chan struct{})
	t.mu.Unlock()
	t.setStatus(memdb.SandboxStarting, "restarted on request")
	t.setRoot(memdb.ProcessStarting, nil)
	t.m.emit(Event{Type: SandboxRestarted, Subject: t.spec.ID, Data: t.current(), Why: "by request"})
	close(again)
	return true
}

// started waits until the start of this life, or of the one that took its place
// meanwhile, has succeeded or failed; false if ctx ended first.
func (t *tree) started(ctx context.Context) bool {
	for {
		settled := t.thisLife()
		select {
		case <-settled:
		case <-ctx.Done():
			return false
		}
		if settled == t.thisLife() {
			return true
		}
	}
}

func (t *tree) thisLife() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.settled
}
