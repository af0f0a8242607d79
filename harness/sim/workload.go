package sim

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Entry is an operation and its outcome.
type Entry struct {
	Op
	Begun, Ended time.Time
	// Call and Return order what happened at one moment; Return is 0 while it has
	// not ended.
	Call, Return int64
	On           string // the incarnation it was asked of
	PID          string // of the process that it is for, or that ends
	processOver  bool   // that had ended when it was answered
	shown        bool   // its value was seen, whatever became of it
	Claim        memdb.Claim
	Created      bool
	Err          error
}

func (e *Entry) kind() errs.Kind {
	if e.Err == nil {
		return ""
	}
	return errs.KindOf(e.Err)
}

// unsure reports whether it failed for a reason that does not say what became of it.
func (e *Entry) unsure() bool {
	switch e.kind() {
	case errs.Timeout, errs.NodeUnavailable, errs.ConnectionLost:
		return true
	}
	return false
}

func (e *Entry) String() string {
	out := "never ended"
	switch {
	case e.Return == 0:
	case e.Err != nil:
		out = e.Err.Error()
	case e.Kind == Publish, e.Kind == End:
		out = "ok"
	case e.Kind == Register && !e.Created:
		out = "had it already: " + claimText(e.Claim)
	default:
		out = "ok: " + claimText(e.Claim)
	}
	return fmt.Sprintf("%s → %s", e.Op, out)
}

func claimText(c memdb.Claim) string {
	holder := c.Node
	if c.PID != "" {
		holder = c.PID
	}
	return fmt.Sprintf("%s@%d %s", holder, c.Stamp, c.Value)
}

// perform asks a node for something, as a client does who waits for the answer.
func (c *Cluster) perform(h *History, o Op) {
	n := c.nodes[o.Node]
	if n.down {
		return
	}
	n.reads(func() {
		if !n.core.Ready() {
			return // it would wait for the gate
		}
		if o.Kind == End && n.procs[o.Process] == "" {
			return // nothing runs
		}
		h.order++
		e := &Entry{Op: o, Begun: c.world.Now(), Call: h.order, On: n.id()}
		h.Entries = append(h.Entries, e)
		done := func(claim memdb.Claim, created bool, err error) {
			h.order++
			e.Ended, e.Return, e.Claim, e.Created, e.Err = c.world.Now(), h.order, claim, created, err
			e.processOver = c.over[e.PID]
			c.log("   %s", e)
			found := (e.Kind == Lookup || e.Kind == Consistent) && err == nil || e.kind() == errs.NameTaken
			if found && !c.confirmed[claimKey(claim)] {
				c.broken("found what was never confirmed: %s", e)
			}
		}
		switch o.Kind {
		case Register:
			e.PID = n.process(o.Process)
			n.register(o, e.PID, done)
		case Unregister:
			n.unregister(o, done)
		case Lookup:
			n.lookup(o.Name, false, done)
		case Consistent:
			n.lookup(o.Name, true, done)
		case Publish:
			n.publish()
			done(memdb.Claim{}, false, nil)
		case End:
			e.PID = n.procs[o.Process]
			n.endProcess(o.Process)
			done(memdb.Claim{}, false, nil)
		}
	})
}

type outcome func(claim memdb.Claim, created bool, err error)

// process returns the pid of one of the node's processes, and starts it if it does
// not run; 0 is the node itself, which has none.
func (n *node) process(which int) string {
	if which == 0 {
		return ""
	}
	if n.procs[which] == "" {
		n.started++
		pid := fmt.Sprintf("%s.%d.%d", n.id(), which, n.started)
		n.procs[which] = pid
		n.putProcess(memdb.Process{PID: pid, Node: n.name, State: memdb.ProcessRunning})
	}
	return n.procs[which]
}

func (n *node) putProcess(p memdb.Process) {
	if _, err := n.rep.Update(n.now(), func(tx *memdb.Tx) error { return tx.PutProcess(p) }); err != nil {
		n.c.broken("%s cannot write its process: %s", n.id(), err)
	}
	n.settle()
}

// endProcess ends a process, as the node's store does.
func (n *node) endProcess(which int) {
	pid := n.procs[which]
	n.procs[which] = ""
	n.c.over[pid] = true
	n.putProcess(memdb.Process{PID: pid, Node: n.name, State: memdb.ProcessExited})
	n.rep.Ended(n.now(), pid, "its process "+pid+" ended")
	n.settle()
}

func (n *node) register(o Op, pid string, done outcome) {
	n.request(func(id uint64) {
		n.rep.Register(n.now(), registry.Register{
			ID: id, Name: o.Name, PID: pid, Epoch: o.Epoch, Value: json.RawMessage(fmt.Sprint(o.Value)), Replace: o.Replace, Deadline: n.now().Add(o.timeout()),
		})
	}, func(d registry.Done) { done(d.Claim, d.Created, d.Err) })
}

func (n *node) lookup(name string, consistent bool, done outcome) {
	if !consistent {
		best, found := n.db.View().Holder(name)
		if !found {
			done(memdb.Claim{}, false, registry.NotRegistered(name))
			return
		}
		if best.Confirmed {
			done(best.Claim, false, nil)
			return
		}
	}
	n.request(func(id uint64) {
		n.rep.Lookup(n.now(), registry.Lookup{ID: id, Name: name, Consistent: consistent, Deadline: n.now().Add(opTimeout)})
	}, func(d registry.Done) { done(d.Claim, false, d.Err) })
}

// unregister is done by the holder, which a lookup finds.
func (n *node) unregister(o Op, done outcome) {
	n.lookup(o.Name, false, func(claim memdb.Claim, _ bool, err error) {
		if err != nil {
			done(claim, false, err)
			return
		}
		if claim.Node == n.name {
			n.giveUp(o, done)
			return
		}
		n.callNode(claim.Node, opTimeout, func(to *node, answer func(any, error)) {
			to.giveUp(o, func(claim memdb.Claim, _ bool, err error) { answer(claim, err) })
		}, func(result any, err error) {
			claim, _ := result.(memdb.Claim)
			done(claim, false, err)
		})
	})
}

func (n *node) giveUp(o Op, done outcome) {
	n.request(func(id uint64) {
		n.rep.Unregister(n.now(), registry.Unregister{ID: id, Name: o.Name, Why: "by request", Deadline: n.now().Add(o.timeout())})
	}, func(d registry.Done) { done(d.Claim, false, d.Err) })
}
