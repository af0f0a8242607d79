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

func (e *Entry) String() string {
	out := "never ended"
	switch {
	case e.Return == 0:
	case e.Err != nil:
		out = e.Err.Error()
	case e.Kind == Publish:
		out = "ok"
	case e.Kind == Register && !e.Created:
		out = "had it already: " + claimText(e.Claim)
	default:
		out = "ok: " + claimText(e.Claim)
	}
	return fmt.Sprintf("%s → %s", e.Op, out)
}

func claimText(c memdb.Claim) string { return fmt.Sprintf("%s@%d %s", c.Node, c.Stamp, c.Value) }

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
		h.order++
		e := &Entry{Op: o, Begun: c.world.Now(), Call: h.order, On: n.id()}
		h.Entries = append(h.Entries, e)
		done := func(claim memdb.Claim, created bool, err error) {
			h.order++
			e.Ended, e.Return, e.Claim, e.Created, e.Err = c.world.Now(), h.order, claim, created, err
			c.log("   %s", e)
			if (e.Kind == Lookup || e.Kind == Consistent) && err == nil && !c.confirmed[claimKey(claim)] {
				c.broken("found what was never confirmed: %s", e)
			}
		}
		switch o.Kind {
		case Register:
			n.register(o, done)
		case Unregister:
			n.unregister(o, done)
		case Lookup:
			n.lookup(o.Name, false, done)
		case Consistent:
			n.lookup(o.Name, true, done)
		case Publish:
			n.publish()
			done(memdb.Claim{}, false, nil)
		}
	})
}

type outcome func(claim memdb.Claim, created bool, err error)

func (n *node) register(o Op, done outcome) {
	n.request(func(id uint64) {
		n.rep.Register(n.now(), registry.Register{
			ID: id, Name: o.Name, Value: json.RawMessage(fmt.Sprint(o.Value)), Replace: o.Replace, Deadline: n.now().Add(opTimeout),
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
			n.giveUp(o.Name, done)
			return
		}
		n.callNode(claim.Node, opTimeout, func(to *node, answer func(any, error)) {
			to.giveUp(o.Name, func(claim memdb.Claim, _ bool, err error) { answer(claim, err) })
		}, func(result any, err error) {
			claim, _ := result.(memdb.Claim)
			done(claim, false, err)
		})
	})
}

func (n *node) giveUp(name string, done outcome) {
	n.request(func(id uint64) {
		n.rep.Unregister(n.now(), registry.Unregister{ID: id, Name: name, Why: "by request", Deadline: n.now().Add(opTimeout)})
	}, func(d registry.Done) { done(d.Claim, false, d.Err) })
}
