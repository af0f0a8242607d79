package cluster

import (
	"fmt"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/internal/sabotage"
	"github.com/glassbox-dev/glassbox/memdb"
)

// The joining gate: a node is ready when every static peer was reached, or
// judged dead, once, and what those reached knew has been applied. Until then
// it could act on a past it does not know.

// openGate opens the gate if it is time.
func (c *Core) openGate(now time.Time, applied memdb.Digest) {
	if c.ready || len(c.unsettled()) > 0 || !c.caughtUp(applied) && !sabotage.Breaks("open the joining gate early") {
		return
	}
	c.ready, c.readySince = true, now
	c.emit(Open{})
	for _, name := range c.names { // tell everybody at once, not at the next ping
		if p := c.peers[name]; p.connected {
			p.nextPing = now
		}
	}
}

// caughtUp reports whether all that was applied which the others knew when they
// greeted us. What only a member that died since knew cannot be had any more: it
// is not waited for.
func (c *Core) caughtUp(applied memdb.Digest) bool {
	for _, p := range c.peers {
		if p.state != Dead && p.state != Left && !applied.Covers(p.target) {
			return false
		}
	}
	return true
}

func (c *Core) unsettled() []string {
	var names []string
	for _, name := range c.names {
		if !c.peers[name].settled {
			names = append(names, name)
		}
	}
	return names
}

// waitsFor says what keeps the gate closed.
func (c *Core) waitsFor() string {
	if names := c.unsettled(); len(names) > 0 {
		return fmt.Sprintf("joining: waits to reach %s, or to judge it dead %s after the start", strings.Join(names, ", "), c.cfg.DeadAfter)
	}
	return "joining: applies what the others know"
}
