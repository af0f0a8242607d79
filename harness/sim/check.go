package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// checkState compares the views, once all trouble is over and nothing is under
// way.
func (c *Cluster) checkState(entries []*Entry) {
	if why := c.whole(); why != "" {
		c.broken("not whole again: %s", why)
		return
	}
	for _, e := range entries {
		if n := c.nodes[e.Node]; e.Return == 0 && n.id() == e.On {
			c.broken("never ended, and its node lives: %s", e)
		}
	}
	first := c.nodes[c.names[0]]
	for _, name := range c.names {
		n := c.nodes[name]
		if a, b := view(first), view(n); a != b {
			c.broken("the views differ: %s shows %s; %s shows %s", first.name, a, name, b)
		}
		if a, b := first.db.Digest(), n.db.Digest(); a.Hash() != b.Hash() {
			c.broken("the digests differ: %s has %v, %s has %v", first.name, a, name, b)
		}
		if list := n.db.Contested(); len(list) > 0 {
			c.broken("%s shows two claims to %v", name, list)
		}
		c.checkOwn(n)
		if what := n.rep.Busy(); what != "" {
			c.broken("%s is not idle: %s; %d calls under way", n.id(), what, len(n.calls))
		}
	}
}

// checkGate is asked of a node that has just joined: what others knew when they
// greeted it, it knows too, or they have died since.
func (c *Cluster) checkGate(n *node) {
	mine := n.db.Digest()
	for _, m := range n.core.Members(n.now()) {
		if m.Self || m.State == cluster.Dead || m.State == cluster.Left {
			continue
		}
		for origin, p := range n.greeted[m.Name] {
			if origin != n.name && !mine[origin].Covers(p) {
				c.broken("%s has joined and is at %v of %s, of which %s had told it %v", n.id(), mine[origin], origin, m.Name, p)
			}
		}
	}
}

// checkDetected looks for nodes that have not run for long, and that others see
// alive.
func (c *Cluster) checkDetected() {
	long := 2*c.cfg.DeadAfter + 3*time.Second
	for _, name := range c.names {
		victim := c.nodes[name]
		if !victim.down && !victim.frozen || c.world.Now().Sub(victim.awake) < long {
			continue
		}
		for _, other := range c.names {
			n := c.nodes[other]
			if n.down || n.frozen || c.world.Now().Sub(n.awake) < long {
				continue
			}
			for _, m := range n.core.Members(n.now()) {
				if m.Name == name && (m.State == cluster.Alive || m.State == cluster.Suspect) {
					c.broken("%s sees %s %s, which has not run for %s", n.id(), name, m.State, c.world.Now().Sub(victim.awake))
				}
			}
		}
	}
}

// view is what a node shows of the names.
func view(n *node) string {
	var all []string
	for claim := range n.db.View().Holders("", "") {
		all = append(all, fmt.Sprintf("%s=%s confirmed:%t", claim.Name, claimText(claim.Claim), claim.Confirmed))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// checkOwn compares what a node says it holds, what it has told in events, and
// what the first node shows of it.
func (c *Cluster) checkOwn(n *node) {
	own, told, shown := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for claim := range n.db.View().Holders("", "") {
		if claim.Node == n.name {
			own[claim.Name] = true
			if c.over[claim.PID] {
				c.broken("%s holds %q for process %s, which has ended", n.id(), claim.Name, claim.PID)
			}
		}
	}
	for name := range c.told[n.id()] {
		told[name] = true
	}
	for _, other := range c.names {
		for claim := range c.nodes[other].db.View().Holders("", "") {
			if claim.Node == n.name {
				shown[claim.Name] = true
			}
		}
	}
	if fmt.Sprint(own) != fmt.Sprint(told) {
		c.broken("%s holds %v, and by its events %v", n.id(), own, told)
	}
	if fmt.Sprint(own) != fmt.Sprint(shown) {
		c.broken("%s holds %v, and others show %v of it", n.id(), own, shown)
	}
}

// checkKept looks for names that were given to somebody who still lives, and
// never gave them up: those must still be held, except by who won a conflict.
func (c *Cluster) checkKept(entries []*Entry) {
	type key struct {
		name  string
		on    string
		stamp uint64
	}
	gone := map[key]bool{}
	unsure := map[string]time.Time{} // until when a name may be given up by an operation of which it is not known
	for _, e := range entries {
		if e.Kind != Unregister {
			continue
		}
		switch {
		case e.Err == nil && e.Return != 0:
			gone[key{e.Name, e.Claim.Node, e.Claim.Stamp}] = true
		case e.kind() != errs.NotFound && e.kind() != errs.NodeUnavailable:
			at := e.Begun.Add(3 * opTimeout) // it looks, asks the holder, and that one waits
			for _, p := range c.pauses {     // the holder, or this one, may have been frozen
				if p[0].Before(at) && p[1].After(e.Begun) && p[1].Add(opTimeout).After(at) {
					at = p[1].Add(opTimeout)
				}
			}
			if at.After(unsure[e.Name]) {
				unsure[e.Name] = at
			}
		}
	}
	for _, e := range c.conflicts {
		gone[key{e.Claim.Name, e.Claim.Node, e.Claim.Stamp}] = true
	}
	for _, e := range entries {
		n := c.nodes[e.Node]
		if e.Kind != Register || e.Err != nil || e.Return == 0 || n.id() != e.On || gone[key{e.Name, e.Node, e.Claim.Stamp}] ||
			!e.Begun.After(unsure[e.Name]) || c.over[e.PID] {
			continue
		}
		held, ok := n.db.View().Holder(e.Name)
		if !ok || held.Node != e.Node || held.Stamp != e.Claim.Stamp || held.PID != e.PID {
			c.broken("was acknowledged, and is lost: %s", e)
		}
	}
}

// checkAnswers compares what was answered while nothing was broken with what one
// holder after the other can explain.
func (c *Cluster) checkAnswers(entries []*Entry, before map[string]memdb.Claim, mayFail bool) {
	byName := map[string][]*Entry{}
	for _, e := range entries {
		switch {
		case e.kind() == errs.BadParameter && e.processOver:
			continue // it had ended before its turn came
		case e.unsure() && (e.Kind == Lookup || e.Kind == Consistent):
			if !mayFail {
				c.broken("failed, and nothing was broken: %s", e)
				return
			}
			continue
		case e.unsure() && (e.Timeout > 0 || mayFail):
		case slices.Contains([]errs.Kind{"", errs.NameTaken, errs.NotFound, errs.Conflict}, e.kind()):
		default:
			c.broken("failed, and nothing was broken: %s", e)
			return
		}
		if e.Name != "" && e.Kind != Publish {
			byName[e.Name] = append(byName[e.Name], e)
		}
	}
	for _, e := range entries {
		for name := range byName {
			if e.Kind == End { // whatever it held
				byName[name] = append(byName[name], e)
			}
		}
	}
	for _, name := range sortedKeys(byName) {
		if why := linearizable(byName[name], before[name]); why != "" {
			c.broken("the answers about %s fit no order: %s", name, why)
		}
		c.checkLookups(byName[name])
	}
}

// checkLookups holds the lookups that ask nobody to the weaker promise: never
// behind a write that returned, and never back in time on one node.
func (c *Cluster) checkLookups(entries []*Entry) {
	last := map[string]*Entry{} // by node
	left := map[string]map[shown]bool{}
	for _, l := range entries {
		if l.Kind != Lookup || l.Return == 0 {
			continue
		}
		now := shownBy(l)
		for _, w := range entries {
			if w.Return == 0 || w.Return > l.Call || w.Err != nil { // in flight, or later, or none
				continue
			}
			c.checkBehind(entries, l, now, w)
		}
		before := last[l.Node]
		if before != nil && before.Return < l.Call && shownBy(before) != now {
			if left[l.Node] == nil {
				left[l.Node] = map[shown]bool{}
			}
			left[l.Node][shownBy(before)] = true
			if now != (shown{}) && left[l.Node][now] {
				c.broken("%s, which this node had already seen to be over", l)
			}
		}
		if before == nil || before.Return < l.Return {
			last[l.Node] = l
		}
	}
}

// checkJoined holds the lookups since all had joined to what has returned since, of
// what those did who are still there. What had returned before may still be on its
// way to the newcomer: nobody waited for it.
func (c *Cluster) checkJoined(entries []*Entry, since int64) {
	byName := map[string][]*Entry{}
	for _, e := range entries {
		fresh := e.Return > since && (e.Kind != Lookup || e.Call > since)
		if e.Kind == Unregister && e.Return == 0 {
			fresh = true // it may yet happen
		}
		if fresh && e.Name != "" && e.Kind != Publish && (e.Kind != Register || c.nodes[e.Node].id() == e.On) {
			byName[e.Name] = append(byName[e.Name], e)
		}
	}
	for _, name := range sortedKeys(byName) {
		for _, e := range entries {
			if e.Kind == End {
				byName[name] = append(byName[name], e)
			}
		}
		c.checkLookups(byName[name])
	}
}

// shown is what a lookup found: a claim, and which of its values.
type shown struct {
	node  string
	stamp uint64
	value string
}

func shownBy(l *Entry) shown {
	if l.Err != nil {
		return shown{}
	}
	return shown{l.Claim.Node, l.Claim.Stamp, string(l.Claim.Value)}
}

// checkBehind looks whether a lookup shows what was so before a write that had
// returned.
func (c *Cluster) checkBehind(entries []*Entry, l *Entry, now shown, w *Entry) {
	same := w.Claim.Node == now.node && w.Claim.Stamp == now.stamp
	switch {
	case w.Kind == Unregister && same:
		c.broken("%s, after %s", l, w)
	case w.Kind == Register && !same && !mayBeGone(entries, w.Claim, l):
		c.broken("%s, after %s, which nobody has given up", l, w)
	case w.Kind == Register && same && now.value != string(w.Claim.Value) && !mayBeNewer(entries, now, w):
		c.broken("%s, after %s, which nobody has replaced", l, w)
	}
}

// mayBeNewer reports whether a value may have come after the one of a write.
func mayBeNewer(entries []*Entry, now shown, w *Entry) bool {
	return slices.ContainsFunc(entries, func(e *Entry) bool {
		return e.Kind == Register && e.Node == now.node && fmt.Sprint(e.Value) == now.value && (e.Return == 0 || e.Return > w.Call)
	})
}

// mayBeGone reports whether some operation that began before a lookup ended may
// have given a claim up.
func mayBeGone(entries []*Entry, claim memdb.Claim, l *Entry) bool {
	return slices.ContainsFunc(entries, func(e *Entry) bool {
		if e.Call > l.Return {
			return false
		}
		switch e.Kind {
		case End:
			return e.PID == claim.PID
		case Unregister:
			return e.Return == 0 || e.Err == nil && e.Claim.Stamp == claim.Stamp && e.Claim.Node == claim.Node || e.Err != nil && e.kind() != errs.NotFound
		default:
			return false
		}
	})
}
