package exec

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/memdb"
)

// sweep kills what a dead guardian held and ends its processes. After an ended
// guardian that was told to end nothing is there to be swept.
func (l *link) sweep(unasked bool, state *os.ProcessState, err error) {
	l.mu.Lock()
	procs, members := l.procs, l.members
	l.procs = make(map[string]*Process)
	l.mu.Unlock()
	if unasked {
		l.log.Error("the guardian died: its programs are killed", "how", state, "error", err, "programs", len(procs))
	}
	if len(procs) > 0 || len(members) > 0 {
		l.killOrphans(procs, members)
	}
	for _, p := range procs {
		exit := memdb.Exit{Cause: memdb.CauseLost, Code: 128 + int(unix.SIGKILL), Signal: "SIGKILL", Detail: "its guardian died"}
		if p.killed.Load() {
			exit.Cause, exit.Detail = memdb.CauseKilled, ""
		}
		l.tasks.Go(func() { p.finish(exit) })
	}
}

// killOrphans kills all that is left of the processes' trees, and reaps what
// fell to this process. It returns when two looks in a row saw nothing.
func (l *link) killOrphans(procs map[string]*Process, members []identity) {
	f := newForest(os.Getpid(), readMark)
	for id, p := range procs {
		if p.root.PID != 0 {
			f.plant(id, p.root)
		} else {
			// Its start was not answered: only its mark can tell it. No process has
			// a negative pid.
			f.roots[-len(f.roots)-1] = id
		}
	}
	for _, id := range members {
		f.known[id] = "a member told by the guardian"
	}
	pace := sweepSoon
	for clean := 0; clean < 2; {
		if l.killMembers(f) {
			clean = 0
			pace = min(pace*3/2, sweepSlowly)
		} else {
			clean++
		}
		time.Sleep(pace)
	}
}

// killMembers kills and reaps all members of all trees; false when there was
// none alive.
func (l *link) killMembers(f *forest) bool {
	all, err := freezeAndKill(func() []identity {
		t, err := readTable()
		if err != nil {
			l.log.Error("processes could not be listed", "error", err)
			return nil
		}
		var alive []identity
		for _, members := range f.count(t).trees {
			alive = append(alive, living(members)...)
			reapOrphans(members, f.keeper)
		}
		return alive
	})
	if err != nil {
		l.log.Error("a program's process could not be killed", "error", err)
	}
	return len(all) > 0
}

// reapOrphans reaps the ended ones that fell to us, and no other child: whoever
// started that waits for it.
func reapOrphans(members []proc, keeper int) {
	for _, p := range members {
		if p.dead && p.parent == keeper {
			var status unix.WaitStatus
			_, _ = unix.Wait4(p.PID, &status, unix.WNOHANG, nil)
		}
	}
}
