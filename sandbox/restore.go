package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// Restored are the sandboxes that a former start of this node has kept.
type Restored struct {
	Rows []memdb.Sandbox
	// Ready returns what is closed when this node knows what the others know. Until then the
	// sandboxes are only candidates.
	Ready func() <-chan struct{}
	// Refuse says why a candidate must not be started; "" if nothing speaks against it.
	Refuse func(row memdb.Sandbox) (why string)
}

// restore takes the candidates in: their ids are taken on this node, and each waits
// in its own goroutine for its start. The caller holds mu.
func (m *Manager) restore() {
	for _, row := range m.cfg.Restored.Rows {
		var spec Spec
		if err := json.Unmarshal(row.Spec, &spec); err != nil {
			m.cfg.Log.Error("a kept spec cannot be read, it is left on the disk", "sandbox", row.ID, "error", err)
			continue
		}
		t := newTree(m, spec.WithDefaults())
		t.uid, t.restored, t.life.again = row.UID, true, maxStarts-1
		t.row.UID, t.row.Epoch, t.row.Created = row.UID, row.Epoch, row.Created
		m.trees[t.spec.ID] = t
		ctx := m.ctx
		m.goTask(func() { t.run(ctx) })
	}
}

// candidate waits until a restored sandbox may be started, and claims its id again.
// False: it is not to be started, and either stays on the disk, since the node ends,
// or is dropped with an event that says why.
func (t *tree) candidate(ctx context.Context) bool {
	select {
	case <-t.m.cfg.Restored.Ready():
	case <-t.destroyed:
		t.abandon(t.whyDestroyed())
		return false
	case <-ctx.Done():
		return false
	}
	for {
		if why := t.m.cfg.Restored.Refuse(t.current()); why != "" {
			t.abandon(why)
			return false
		}
		err := t.claim(ctx)
		switch {
		case err == nil:
			return true
		case errs.KindOf(err) == errs.AlreadyExists:
			t.abandon(errs.From(err).Message)
			return false
		}
		t.m.cfg.Log.Warn("a kept sandbox has not got its id yet, it goes on asking", "sandbox", t.spec.ID, "err", err)
		select {
		case <-time.After(claimAgain):
		case <-t.destroyed:
			t.abandon(t.whyDestroyed())
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// maxStarts bounds how often a restored sandbox is started while its start meets a
// passing shortage: again after claimAgain, then after twice the time of before, so
// for two minutes in all.
const maxStarts = 8

// startAgain begins another life instead of one whose start has failed, after a while,
// if it is one that is to be tried again.
func (t *tree) startAgain(ctx context.Context, l *life, err error) {
	if l.again == 0 || !passing(err) {
		return
	}
	wait := time.NewTimer(claimAgain << (maxStarts - 1 - l.again))
	defer wait.Stop()
	select {
	case <-wait.C:
		t.restart("by its node: its start has failed, which may pass", l.again-1)
	case <-ctx.Done():
	}
}

// passing says whether a start may succeed later though nobody does anything.
func passing(err error) bool {
	var start *supervisor.StartError
	if !errors.As(err, &start) {
		return false // it has run
	}
	switch errs.KindOf(start) {
	case errs.Internal, errs.NodeUnavailable, errs.NotReady, errs.Timeout:
		return true
	}
	return false
}

// abandon forgets a restored sandbox that is not to be started.
func (t *tree) abandon(why string) {
	t.destroy()
	t.m.stored("disk", t.uid, t.m.cfg.Disk.DropSandbox(t.uid))
	t.m.emit(Event{Type: SandboxDropped, Subject: t.spec.ID, Data: t.current(), Why: why})
}
