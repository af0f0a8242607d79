package node

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/decree"
)

// ids holds the ids of the sandboxes as names that nobody else can ask for.
type ids struct{ n *Node }

// Claim implements [sandbox.Claimer].
func (i ids) Claim(ctx context.Context, id, uid string, epoch uint64) (uint64, error) {
	for _, d := range i.n.db.View().AllDestroyed() {
		if d.ID == id && d.UID != uid && len(decree.Lacking([]string{d.Host}, []memdb.Destroyed{d})) > 0 {
			epoch = max(epoch, d.Epoch+1)
		}
	}
	claim, _, err := i.n.replica.Register(ctx, registry.Register{
		Name: registry.SandboxName(id), Value: json.RawMessage(fmt.Sprintf("{%q:%q}", "uid", uid)), Replace: true, Epoch: epoch,
	})
	if errs.KindOf(err) == errs.NameTaken {
		return 0, errs.New(errs.AlreadyExists, "sandbox %q already exists on node %s; destroy it first, or choose another id", id, claim.Node).WithNode(claim.Node)
	}
	return claim.Epoch, err
}

// Release implements [sandbox.Claimer].
func (i ids) Release(ctx context.Context, id string) error {
	return i.n.replica.Unregister(ctx, registry.SandboxName(id), "its sandbox is no more")
}

// slots holds the names of children.
type slots struct{ n *Node }

// Claim implements [sandbox.Names].
func (s slots) Claim(ctx context.Context, name, sandboxID, child string) error {
	_, _, err := s.n.replica.Register(ctx, registry.Register{Name: name, Sandbox: sandboxID, Child: child})
	return err
}

// Release implements [sandbox.Names].
func (s slots) Release(ctx context.Context, name, why string) error {
	return s.n.replica.Unregister(ctx, name, why)
}

// lost tells the sandbox that one of its names went to another holder.
func (n *Node) lost(e registry.Event) {
	if id, ok := registry.SandboxOf(e.Claim.Name); ok {
		n.sandboxes.Evict(id, fmt.Sprintf("its id is that of another sandbox, on node %s: %s", e.Winner.Node, e.Why))
	} else if e.Claim.Child != "" {
		n.sandboxes.NameLost(e.Claim.Sandbox, e.Claim.Child, e.Why)
	}
}

// keeper is where the sandboxes are kept; nil without a data folder.
func (n *Node) keeper() sandbox.Disk {
	if n.disk == nil {
		return nil
	}
	return n.disk
}

// restore makes the decrees, and reads what a former start has kept: its copies of
// decrees count at once, its sandboxes are candidates.
func (n *Node) restore(m cluster.Config) (sandbox.Restored, error) {
	restored := sandbox.Restored{Ready: func() <-chan struct{} { return n.cluster.Ready() }, Refuse: n.refuse}
	n.decrees = &decrees{
		self: n.cfg.Name, configured: append(slices.Sorted(maps.Keys(m.Peers)), n.cfg.Name),
		db: n.db, replica: n.replica, log: n.log, condemn: func(uid, why string) { n.sandboxes.Condemn(uid, why) },
		keep: func(memdb.Destroyed) error { return nil }, forget: func(string) error { return nil },
		wake: make(chan struct{}, 1), finished: map[string]bool{}, heard: map[string][]memdb.Destroyed{}, changed: make(chan struct{}),
	}
	if n.disk == nil {
		return restored, nil
	}
	n.decrees.keep, n.decrees.forget = n.disk.PutDestroyed, n.disk.DropDestroyed
	kept, copies, unread, err := n.disk.Load()
	if err != nil {
		return restored, errs.Wrap(errs.BadParameter, err, "the data folder %s cannot be read; restore it from a copy, or choose another with --data-dir", n.cfg.DataDir)
	}
	for _, fault := range unread {
		n.log.Error("a kept sandbox cannot be read, it is left on the disk and not started", "err", fault)
	}
	restored.Rows = kept
	_, err = n.db.Update(func(tx *memdb.Tx) error {
		for _, one := range copies {
			if err := tx.PutDestroyed(one); err != nil {
				return err
			}
		}
		return nil
	})
	return restored, err
}

// refuse says why a kept sandbox must not be started again.
func (n *Node) refuse(row memdb.Sandbox) string {
	view := n.db.View()
	if copies := view.Destroyed(row.UID); len(copies) > 0 {
		return fmt.Sprintf("it was destroyed by node %s while this node was away", copies[0].By)
	}
	other, found := view.Sandbox(row.ID)
	switch {
	case !found || other.Node == n.cfg.Name:
		return ""
	case other.UID == row.UID:
		return fmt.Sprintf("it runs on node %s now, with epoch %d", other.Node, other.Epoch)
	default:
		return fmt.Sprintf("its id was taken meanwhile by another sandbox, on node %s", other.Node)
	}
}
