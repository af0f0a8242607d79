package fault

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// maxRules bounds the faults in force at one time.
const maxRules = 256

// Change is a fault that began or ended.
type Change struct {
	Rule Rule
	Over bool
	Why  string // of the end
}

// Table is the faults of one node and the connections they apply to. All
// methods may be called from several goroutines at once.
type Table struct {
	onChange func(Change)

	mu      sync.Mutex
	closed  bool
	last    int
	rules   []Rule // oldest first
	timers  map[string]*time.Timer
	conns   map[*conn]struct{}
	changed chan struct{} // closed and replaced when the rules change
	wg      sync.WaitGroup
}

// New returns a table without faults. onChange, which may be nil, is told of
// each fault's begin and end; it must not block.
func New(onChange func(Change)) *Table {
	if onChange == nil {
		onChange = func(Change) {}
	}
	return &Table{
		onChange: onChange, timers: map[string]*time.Timer{}, conns: map[*conn]struct{}{}, changed: make(chan struct{}),
	}
}

// Add puts a fault in force for a time and returns it as it is in force. Kinds:
// conflict (there are too many, or the node is stopping).
func (t *Table) Add(r Rule, ttl time.Duration) (Rule, error) {
	t.mu.Lock()
	if t.closed || len(t.rules) >= maxRules {
		t.mu.Unlock()
		return Rule{}, errs.New(errs.Conflict, "no fault is added: %d are in force, at most %d can be; heal some first", len(t.rules), maxRules)
	}
	t.last++
	r.ID = fmt.Sprintf("f%d", t.last)
	r.Since = time.Now().UTC().Truncate(time.Microsecond)
	r.Until = r.Since.Add(ttl)
	t.rules = append(t.rules, r)
	t.timers[r.ID] = time.AfterFunc(ttl, func() {
		t.HealWhere(func(other Rule) bool { return other.ID == r.ID }, "its time was over")
	})
	t.wake()
	t.mu.Unlock()
	t.onChange(Change{Rule: r})
	return r, nil
}

// wake tells the connections that the rules have changed. The caller holds mu.
func (t *Table) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// HealWhere ends the faults that are meant, says why, and returns them.
func (t *Table) HealWhere(over func(Rule) bool, why string) []Rule {
	t.mu.Lock()
	healed := []Rule{}
	t.rules = slices.DeleteFunc(t.rules, func(r Rule) bool {
		if !over(r) {
			return false
		}
		healed = append(healed, r)
		t.timers[r.ID].Stop()
		delete(t.timers, r.ID)
		return true
	})
	if len(healed) > 0 {
		t.wake()
	}
	t.mu.Unlock()
	for _, r := range healed {
		t.onChange(Change{Rule: r, Over: true, Why: why})
	}
	return healed
}

// Rules returns the faults in force, oldest first.
func (t *Table) Rules() []Rule {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Rule{}, t.rules...)
}

// Drop closes all connections with a peer, as a reset does, and returns how
// many there were.
func (t *Table) Drop(peer string) int {
	t.mu.Lock()
	var dropped []*conn
	for c := range t.conns {
		if c.peer == peer {
			dropped = append(dropped, c)
		}
	}
	t.mu.Unlock()
	for _, c := range dropped {
		_ = c.Conn.Close() // whoever uses it will notice
	}
	return len(dropped)
}

// Close heals everything and returns when nothing that the table started is
// left.
func (t *Table) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.HealWhere(func(Rule) bool { return true }, "the node is stopping")
	t.wg.Wait()
}

// look returns what the rules do to one way, and what is closed when that may
// have changed.
func (t *Table) look(peer string, way Direction) (effect, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return effectOf(t.rules, peer, way), t.changed
}

// Dial connects to a peer with dial, and hangs while either way is cut.
func (t *Table) Dial(ctx context.Context, peer string, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	if err := t.passes(ctx, peer); err != nil {
		return nil, err
	}
	nc, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	c := t.wrap(nc)
	c.identify(peer)
	return c, nil
}

// passes waits until no way to a peer is cut.
func (t *Table) passes(ctx context.Context, peer string) error {
	for {
		in, changed := t.look(peer, In)
		out, _ := t.look(peer, Out)
		if !in.cut && !out.cut {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the link to %s is cut by a fault: %w", peer, ctx.Err())
		}
	}
}

// Accept takes an accepted connection in. identify is to be called when it is
// known whose it is; it waits while a way to that peer is cut, for the peer
// could not have said who it is.
func (t *Table) Accept(nc net.Conn) (c net.Conn, identify func(ctx context.Context, peer string) error) {
	accepted := t.wrap(nc)
	return accepted, func(ctx context.Context, peer string) error {
		accepted.identify(peer)
		return t.passes(ctx, peer)
	}
}

func (t *Table) wrap(nc net.Conn) *conn {
	c := newConn(t, nc)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns[c] = struct{}{}
	return c
}

func (t *Table) forget(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
}

// start runs f on a goroutine that Close waits for, after before; false if the
// table is closed.
func (t *Table) start(before, f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	before()
	t.wg.Go(f)
	return true
}
