package node

import (
	"context"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

// deps gives the operations what they work on.
func (n *Node) deps() operations.Deps {
	return operations.Deps{
		Self: n.cfg.Name, Cluster: n.cfg.Cluster, Version: n.version, Started: n.started,
		Members: func() []cluster.Member { return n.cluster.Members() },
		DB:      n.db, Sandboxes: n.sandboxes, Events: n.events, Faults: n.faults,
		Ready: n.ready, Acknowledged: n.acknowledged, Probe: n.probe, Causes: n.causes, Leave: n.Leave,
		Table: func() *op.Table { return n.table }, Log: n.log,
	}
}

// ready says whether this node has joined; if not, what it waits for.
func (n *Node) ready() (bool, []string) {
	select {
	case <-n.cluster.Ready():
		return true, nil
	default:
		return false, []string{n.cluster.Self().Why}
	}
}

// acknowledged waits until all members that are alive, or suspected and not yet
// judged, have this node's rows as they are now.
func (n *Node) acknowledged(ctx context.Context) error {
	position := n.db.Digest()[n.cfg.Name]
	missing, err := n.replicator.WaitAcked(ctx, position.Seq, n.awaited)
	if err != nil {
		return errs.Wrap(errs.Timeout, err, "done here, but not acknowledged by %v; they will know when they answer again", missing)
	}
	return nil
}

// awaited are the members whose acknowledgement counts: those alive, or
// suspected and not yet judged, that this node reaches by itself. What a member
// that only another one reaches has applied, nobody tells us.
func (n *Node) awaited() []string {
	membership, err := n.cfg.membership()
	if err != nil { // it was valid when the node was made
		return nil
	}
	var names []string
	for _, m := range n.cluster.Members() {
		resolvedSoon := m.State == cluster.Suspect && time.Since(m.Since) < membership.DeadAfter
		_, indirect := m.Reach.Via()
		if m.State == cluster.Alive && !indirect || resolvedSoon {
			names = append(names, m.Name)
		}
	}
	return names
}

// causes lists what only this node can know is wrong with it.
func (n *Node) causes() []operations.Cause {
	causes := []operations.Cause{}
	for _, peer := range n.cluster.Differing() {
		causes = append(causes, operations.Cause{
			Kind: "peers_differ", Subject: peer, Severity: operations.Warning,
			Message: "node " + peer + " was given another list of peers than node " + n.cfg.Name + "; give all nodes the same",
		})
	}
	return causes
}
