package exec

import (
	"log/slog"
	"os"
	"time"

	"github.com/glassbox-dev/glassbox/sandbox"
)

// guardianName is what a guardian calls itself in /proc/PID/comm, whatever the
// command was that started it. It has at most 15 bytes.
const guardianName = "glassbox-guard"

// nameProcess names this process.
func nameProcess(name string) error { return os.WriteFile("/proc/self/comm", []byte(name), 0) }

// helper reports whether a process calls itself a guardian or a keeper.
func (p proc) helper() bool { return p.name == guardianName || p.name == keeperName }

// leftoverTime is how long programs of a former life may hold up the first start:
// one that cannot be killed must not hold it up for ever.
const leftoverTime = 2 * time.Second

// sweepLeftovers kills what a former life of a node left: its programs'
// processes whose guardian, keeper and node were all killed in the same instant.
func sweepLeftovers(node string, log *slog.Logger) {
	find := func() ([]victim, error) {
		t, err := readTable()
		if err != nil {
			return nil, err
		}
		return leftovers(t, os.Getpid(), func(pid int) bool { return isOf(node, pid) }), nil
	}
	killed, gone := purge(log, time.Now().Add(leftoverTime), find)
	if len(killed) > 0 {
		log.Warn("processes of a former life of this node were killed: it, its keeper and its guardian had died in the same instant", "processes", len(killed))
	}
	if !gone {
		log.Error("processes of a former life of this node may still live: look for GLASSBOX_PID in their environment", "after", leftoverTime)
	}
}

// isOf reports whether a process shows to be of a node's program, by its mark or
// by its brand.
func isOf(node string, pid int) bool {
	owner, ok := sandbox.NodeOfPID(readMark(pid))
	return ok && owner == node || readBrand(pid).family() == familyOf(node)
}

// leftovers lists the living processes of a node, told by marked, that nobody
// holds. Held is what a guardian or this process, self, is an ancestor of: a
// living guardian of a node of the same name, in another cluster on this machine,
// keeps what is its. Nothing runs yet that self itself had started as a node.
func leftovers(t table, self int, marked func(pid int) bool) []victim {
	above := make(map[int]bool) // self, which may be a marked program, and those above it
	for _, p := range t.ancestry(self) {
		above[p.PID] = true
	}
	var found []victim
	for _, p := range t {
		if !p.dead && !above[p.PID] && marked(p.PID) && !t.held(p, self) {
			found = append(found, victim{proc: p, tree: "a former life"})
		}
	}
	return found
}

// held reports whether a guardian or self is above a process, or whether that
// cannot be told because the snapshot lost the way up.
func (t table) held(p proc, self int) bool {
	line := t.ancestry(p.PID)
	for _, a := range line {
		// One that is dying, which can take it some time, holds nothing any more.
		if a.helper() && !a.dying || a.PID == self {
			return true
		}
	}
	const init = 1 // in a container a process may also have a parent outside of it, 0
	top := line[len(line)-1]
	return top.PID != init && top.parent > init
}

// ancestry returns a process and those above it, as far as the snapshot tells.
func (t table) ancestry(pid int) []proc {
	var line []proc
	for p, ok := t[pid]; ok && len(line) < len(t); {
		line = append(line, p)
		child := p
		// Who is younger than its child is not its parent, but has its number now.
		if p, ok = t[p.parent]; ok && p.Birth > child.Birth {
			break
		}
	}
	return line
}
