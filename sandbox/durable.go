package sandbox

import (
	"context"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// What needs the answer of the other nodes, or of a disk, is behind these.

// Claimer holds the ids of this node's sandboxes, so that an id is one sandbox's in
// the whole cluster.
type Claimer interface {
	// Claim returns when all members have acknowledged that the id is this creation's,
	// with the epoch that it has now: at least the one given, and above those of
	// destroyed ones of this id whose nodes have not heard of it. Kinds: already_exists
	// (it says where), node_unavailable, timeout; none of them leaves a claim.
	Claim(ctx context.Context, id, uid string, epoch uint64) (uint64, error)
	// Release gives the id up and returns when all members have acknowledged that.
	Release(ctx context.Context, id string) error
}

// Decrees makes sure that what was destroyed stays so.
type Decrees interface {
	// Decree returns when every live member has made the decree its own. If ctx ends
	// before it is on this node's disk it may or may not stand; afterwards it does.
	Decree(ctx context.Context, d memdb.Destroyed) error
}

// Disk keeps the sandboxes of this node for its next start. What has returned is on
// the disk.
type Disk interface {
	PutSandbox(row memdb.Sandbox) error
	DropSandbox(uid string) error
}

// alone is a node without others and without a disk.
type alone struct{}

func (alone) Decree(context.Context, memdb.Destroyed) error { return nil }
func (alone) PutSandbox(memdb.Sandbox) error                { return nil }
func (alone) DropSandbox(string) error                      { return nil }

type aloneClaimer struct{}

func (aloneClaimer) Claim(_ context.Context, _, _ string, epoch uint64) (uint64, error) {
	return epoch, nil
}
func (aloneClaimer) Release(context.Context, string) error { return nil }

// withDefaults fills what was not given.
func (c Config) withDefaults() Config {
	if c.Claimer == nil {
		c.Claimer = aloneClaimer{}
	}
	if c.Names == nil {
		c.Names = aloneNames{}
	}
	if c.Decrees == nil {
		c.Decrees = alone{}
	}
	if c.Disk == nil {
		c.Disk = alone{}
	}
	return c
}

// Times of what is asked of the cluster. A member that does not answer is waited for
// until it is judged dead, which is far less.
const (
	claimTimeout = 10 * time.Second
	// claimAgain is how long a restored sandbox waits after a claim that failed and
	// was not refused.
	claimAgain = time.Second
)

// Destroy decrees that a sandbox is to be no more, and when every live member has
// made that its own stops the sandbox, its children in reverse order and with their
// shutdown times, and forgets it; by says who wants it. It returns nil only when
// nothing of it is left.
// When ctx ends first the destruction goes on. Kinds: not_found, timeout, not_ready
// (the node is stopping), internal (the system does not let all of it end).
func (m *Manager) Destroy(ctx context.Context, id, by string) error {
	t, err := m.tree(id)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	m.mu.Lock()
	run := m.ctx
	begun := m.goTask(func() {
		if err := m.cfg.Decrees.Decree(run, t.decree()); err != nil {
			failed <- err
			return
		}
		t.because("destroyed by " + by)
		t.destroy()
	})
	m.mu.Unlock()
	if !begun {
		return errs.New(errs.NotReady, "node %q is starting or stopping and destroys nothing now: try again later", m.cfg.Node)
	}
	select {
	case <-t.gone:
		return t.stuck()
	case err := <-failed:
		return err
	case <-ctx.Done():
		return errs.Wrap(errs.Timeout, ctx.Err(), "sandbox %q is still being destroyed, that goes on: ask again later", id)
	}
}

// Force decrees that a sandbox of another node, which cannot be reached, is to be no
// more. That node carries it out when it hears of it. Kinds: timeout, internal (it
// could not be kept).
func (m *Manager) Force(ctx context.Context, row memdb.Sandbox) error {
	err := m.cfg.Decrees.Decree(ctx, memdb.Destroyed{UID: row.UID, ID: row.ID, Host: row.Node, Epoch: row.Epoch, By: m.cfg.Node, At: m.now()})
	if err == nil {
		m.emit(Event{Type: SandboxDestroyed, Subject: row.ID, Data: row, Why: "by force; node " + row.Node + " cannot be reached, and ends it when it is back"})
	}
	return err
}

// decree is what says that the tree is to be no more.
func (t *tree) decree() memdb.Destroyed {
	row := t.current()
	return memdb.Destroyed{UID: row.UID, ID: row.ID, Host: row.Node, Epoch: row.Epoch, By: t.m.cfg.Node, At: t.m.now()}
}

// Condemn carries out a decree of another node: if the creation is here it is
// destroyed. It does not wait.
func (m *Manager) Condemn(uid, why string) {
	m.doom(func(t *tree) bool { return t.uid == uid }, why)
}

// Evict ends the sandbox that has lost its id to another one. It does not wait.
func (m *Manager) Evict(id, why string) {
	m.doom(func(t *tree) bool { return t.spec.ID == id }, why)
}

func (m *Manager) doom(which func(*tree) bool, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.trees {
		if which(t) {
			t.because(why)
			t.destroy()
		}
	}
}

// whyDestroyed says why the tree was destroyed.
func (t *tree) whyDestroyed() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why
}

// because says why the tree is to be destroyed, if nobody did so before.
func (t *tree) because(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why == "" {
		t.why = why
	}
}

// claim takes the id and keeps the sandbox, before anybody can see it.
func (t *tree) claim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	row := t.current()
	epoch, err := t.m.cfg.Claimer.Claim(ctx, row.ID, row.UID, row.Epoch)
	if err != nil {
		return err
	}
	kept := t.restored && epoch == row.Epoch
	row.Epoch = epoch
	if err = t.keep(row, kept); err == nil {
		err = t.m.cfg.Store.PutSandbox(row)
	}
	if err != nil {
		if !t.restored { // what a former start has kept was acknowledged
			t.m.stored("disk", row.UID, t.m.cfg.Disk.DropSandbox(row.UID))
		}
		t.release()
	}
	return err
}

// keep puts the row on the disk, unless it is there already.
func (t *tree) keep(row memdb.Sandbox, kept bool) error {
	if !kept {
		if err := t.m.cfg.Disk.PutSandbox(row); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row.Epoch = row.Epoch
	return nil
}

// release gives the id and the names of the slots up.
func (t *tree) release() {
	ctx, cancel := context.WithTimeout(context.Background(), claimTimeout)
	defer cancel()
	t.releaseAll(ctx)
	t.m.stored("names", t.spec.ID, notFoundIsFine(t.m.cfg.Claimer.Release(ctx, t.spec.ID)))
}

func notFoundIsFine(err error) error {
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	return err
}
