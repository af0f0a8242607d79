package exec

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// notice finds the roots that have ended. They are not reaped yet: a zombie
// holds its pid, and with it its session, until nothing of its tree is left.
func (g *guardian) notice() {
	for _, t := range g.trees {
		if !t.exited && hasEnded(t.root.PID) {
			t.exited, t.dying = true, true
			g.pace = 0
		}
	}
}

// hasEnded reports whether a child has ended, without reaping it.
func hasEnded(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

// childless reports that there is no child at all, not even an ended one.
func childless() bool {
	err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return errors.Is(err, unix.ECHILD)
}

// urgent reports that a sweep is due at once.
func (g *guardian) urgent() bool { return g.pace == 0 && g.busy() }

// busy reports that something is being killed.
func (g *guardian) busy() bool {
	if g.ending || len(g.strays) > 0 {
		return true
	}
	for _, t := range g.trees {
		if t.dying {
			return true
		}
	}
	return false
}

// wait is the time to the next sweep.
func (g *guardian) wait() time.Duration {
	pause := time.Hour
	switch {
	case g.busy():
		pause = max(g.pace, sweepSoon)
	case len(g.trees) > 0:
		pause = lookAround
	}
	return max(0, pause-time.Since(g.swept))
}

// sweep kills what is to die and reports the trees of which nothing is left.
func (g *guardian) sweep() {
	for again := true; again; {
		g.swept = time.Now()
		t, err := g.look()
		if err != nil {
			g.complain(err)
			g.pace = sweepSlowly
			return
		}
		g.forget(t)
		c := g.forest.count(t)
		blocked := g.watch(c.strays)
		killed := g.killAny(c)
		pending := g.conclude(c, blocked)
		g.tellElusive(c)
		again = pending && !killed && !blocked
		if killed {
			// Quickly at first, then slower: something may not be killable.
			g.pace = min(max(sweepSoon, g.pace*3/2), sweepSlowly)
		} else {
			g.pace = sweepSoon
		}
	}
}

// conclude reports the dying trees of which nothing was seen twice in a row;
// it returns whether there are others of which nothing was seen once.
func (g *guardian) conclude(c census, blocked bool) (pending bool) {
	for _, tree := range g.dying() {
		if left := living(tree.id, c.trees[tree.id]); len(left) > 0 {
			tree.clean = 0
			g.tellStuck(tree, left)
			continue
		}
		if tree.clean++; tree.clean < 2 || blocked {
			pending = true
			continue
		}
		g.report(tree)
	}
	return pending
}

// dying lists the trees being killed, by id.
func (g *guardian) dying() []*guarded {
	var trees []*guarded
	for _, t := range g.trees {
		if t.dying {
			trees = append(trees, t)
		}
	}
	slices.SortFunc(trees, func(a, b *guarded) int { return int(a.root.Birth) - int(b.root.Birth) })
	return trees
}

// killAny kills what is to die; false when there was nothing.
func (g *guardian) killAny(c census) bool {
	if len(g.victims(c)) == 0 {
		return false
	}
	all := freezeAndKill(func() []victim {
		t, err := g.look()
		if err != nil {
			return nil // the next sweep reports it
		}
		return g.victims(g.forest.count(t))
	})
	for _, v := range all {
		g.complain(g.account(v))
	}
	return true
}

// account counts a process that was killed, and returns what is to be told of
// it: once, although it may take its time to die, or never do so.
func (g *guardian) account(v victim) error {
	if g.killed[v.identity] {
		return nil
	}
	g.killed[v.identity] = true
	if t := g.trees[v.tree]; t != nil && t.exited && v.PID != t.reaper {
		t.leftovers++
	}
	switch {
	case v.err != nil:
		return fmt.Errorf("%v of %s cannot be killed: %w: kill it as root", v.proc, v.tree, v.err)
	case v.tree == strayTree && !g.ending:
		return g.strayKilled(v.proc)
	}
	return nil
}

// strayLines is how often strays are told: whoever makes them without end is not to
// fill the node's log.
const strayLines = time.Second

// strayKilled counts a stray, and tells of those since the last time.
func (g *guardian) strayKilled(p proc) error {
	g.untold++
	if time.Since(g.strayTold) < strayLines {
		return nil
	}
	n := g.untold
	g.untold, g.strayTold = 0, time.Now()
	if n == 1 {
		return fmt.Errorf("%v was killed as a stray: it belongs to no program that is running", p)
	}
	return fmt.Errorf("%v was killed as a stray, and %d others since the last was told: they belong to no program that is running", p, n-1)
}

// forget forgets the killed processes that are no more.
func (g *guardian) forget(t table) {
	for id := range g.killed {
		if t[id.PID].identity != id {
			delete(g.killed, id)
		}
	}
}

// victims lists the living members of dying trees and the strays whose time is
// up.
func (g *guardian) victims(c census) []victim {
	var all []victim
	for _, tree := range g.dying() {
		all = append(all, living(tree.id, c.trees[tree.id])...)
	}
	for _, v := range living(strayTree, c.strays) {
		first, seen := g.strays[v.identity]
		if g.ending || seen && time.Since(first) >= strayGrace {
			all = append(all, v)
		}
	}
	return all
}

// living lists those of a tree that have not ended.
func living(tree string, procs []proc) []victim {
	var all []victim
	for _, p := range procs {
		if !p.dead {
			all = append(all, victim{proc: p, tree: tree})
		}
	}
	return all
}

// watch notes the strays that are there, and reports whether one of them may
// yet turn out to be of a tree that is being reported as gone.
func (g *guardian) watch(strays []proc) (blocked bool) {
	seen := make(map[identity]time.Time)
	for _, p := range strays {
		if p.dead {
			continue
		}
		first, known := g.strays[p.identity]
		if !known {
			first = time.Now()
		}
		seen[p.identity] = first
		blocked = blocked || time.Since(first) < strayBlocks
	}
	g.strays = seen
	return blocked
}

// report reaps the root of a tree of which nothing else is left, and tells the
// node how it ended.
func (g *guardian) report(t *guarded) {
	if t.starting { // who waits for it has yet to say whether it ever ran
		t.clean = 0
		return
	}
	var status unix.WaitStatus
	pid, err := unix.Wait4(t.root.PID, &status, unix.WNOHANG, nil)
	if pid == 0 && err == nil {
		t.clean = 0 // its end is still to come
		return
	}
	g.forest.fell(t.id)
	delete(g.trees, t.id)
	if t.failure != nil {
		g.tell(*t.failure)
		return
	}
	status = t.outcome(status)
	if t.payload.PID != 0 {
		unix.Close(t.payloadFD)
	}
	m := message{Op: opExited, ID: t.id, Leftovers: t.leftovers, Code: status.ExitStatus()}
	if status.Signaled() {
		m.Signal, m.Code = int(status.Signal()), 128+int(status.Signal())
	}
	g.tell(m)
}

// look takes a snapshot of what is below the guardian.
func (g *guardian) look() (table, error) {
	g.reap()
	return readBelow(g.forest.keeper)
}

// reap takes the ended children away, except roots. It does not look at them
// first: whoever forks daemons that end at once leaves thousands of them here, and
// a look at each would take longer than it takes to fork the next.
func (g *guardian) reap() {
	pids, err := childrenOf(g.forest.keeper)
	if err != nil {
		pids = g.allChildren()
	}
	roots := make(map[int]bool, len(g.trees))
	for _, t := range g.trees {
		roots[t.root.PID] = true
	}
	for _, pid := range pids {
		if !roots[pid] {
			var status unix.WaitStatus
			_, _ = unix.Wait4(pid, &status, unix.WNOHANG, nil)
		}
	}
}

// allChildren is childrenOf for a kernel without lists of children.
func (g *guardian) allChildren() []int {
	t, err := readTable()
	if err != nil {
		return nil // the look that follows reports it
	}
	var pids []int
	for pid, p := range t {
		if p.parent == g.forest.keeper {
			pids = append(pids, pid)
		}
	}
	return pids
}

// tellElusive tells the node which members it could not find by itself, should
// the guardian die.
func (g *guardian) tellElusive(c census) {
	ids := g.forest.elusive(c)
	slices.SortFunc(ids, func(a, b identity) int { return a.PID - b.PID })
	ids = ids[:min(len(ids), maxMembers)]
	if !slices.Equal(ids, g.told) {
		g.told = ids
		g.tell(message{Op: opMembers, Members: ids})
	}
}

// maxMembers bounds the members in one message, so that it fits a packet.
const maxMembers = 2000
