package exec

import (
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/memdb"
)

// Trees that stand for no program, by names that no pid has.
const (
	strayTree  = "a program that has left its tree"
	memberTree = "a member told by the guardian"
	oldTree    = "a guardian that was given up"
)

// sweep kills what a dead guardian held and ends its processes. A guardian that
// was told to end has left nothing, but one that did not obey has.
func (l *link) sweep(unasked bool) {
	l.mu.Lock()
	procs, members, fate := l.procs, l.members, l.fate
	l.procs = make(map[string]*Process)
	l.mu.Unlock()
	if unasked {
		l.log.Error("the guardian died: its programs are killed", "how", l.keeper.how, "programs", len(procs))
	}
	left := l.killOrphans(procs, members)
	for id, p := range procs {
		if stuck := left[id]; len(stuck) > 0 {
			l.tasks.Go(func() { p.finish(stuckExit(message{Error: leftText(stuck)})) })
			continue
		}
		exit := memdb.Exit{Cause: memdb.CauseLost, Code: 128 + int(unix.SIGKILL), Signal: "SIGKILL", Detail: fate}
		if p.killed.Load() {
			exit.Cause, exit.Detail = memdb.CauseKilled, ""
		}
		l.tasks.Go(func() { p.finish(exit) })
	}
}

// killOrphans kills all that fell to this process from the guardian, and reaps
// it. It returns when two looks in a row saw nothing; or after stuckTime, with what
// is left of each tree.
func (l *link) killOrphans(procs map[string]*Process, members []identity) (left map[string][]victim) {
	f := l.orphanage(procs, members)
	killed, gone := purge(l.log, time.Now().Add(stuckTime), func() ([]victim, error) {
		left = make(map[string][]victim)
		t, err := readBelow(os.Getpid())
		if err != nil {
			return nil, err
		}
		var alive []victim
		for tree, members := range f.count(t).trees {
			if all := living(tree, members); len(all) > 0 {
				left[tree] = all
				alive = append(alive, all...)
			}
			reapOrphans(members, f.keeper)
		}
		return alive, nil
	})
	for _, v := range killed {
		if v.tree == strayTree {
			l.log.Warn("a stray was killed: its guardian died, and no program that ran is its", "os_pid", v.PID, "command", v.name)
		}
	}
	if gone {
		return nil
	}
	for tree, stuck := range left {
		l.log.Error("a program was killed and does not end: find out what it waits for", "pid", tree, "left", leftText(stuck))
	}
	return left
}

// orphanage makes the forest of what falls to this process. It has other
// children, which whoever embeds the node has started: those bear no brand of this
// family, and what does descends from a guardian that is no more.
func (l *link) orphanage(procs map[string]*Process, members []identity) *forest {
	branded := make(map[brand]string)
	for id, p := range procs {
		branded[p.brand] = id
	}
	delete(branded, unbranded)
	f := newForest(os.Getpid(), func(p proc) string {
		if p.helper() {
			return "" // of another node of this name in this process
		}
		b := readBrand(p.PID)
		if tree := branded[b]; tree != "" {
			return tree
		}
		if mark := readMark(p.PID); procs[mark] != nil {
			return mark
		}
		if b != unbranded && b.family() == l.brand.family() {
			return strayTree
		}
		return ""
	})
	if self, ok := l.self(); ok { // its keeper was killed, and it did not end by itself
		f.plant(oldTree, self)
	}
	f.roots[-1] = strayTree // no process has a negative pid
	for id, p := range procs {
		if p.root.PID != 0 {
			f.plant(id, p.root)
		} else {
			// Its start was not answered: only what it shows can tell it.
			f.roots[-len(f.roots)-1] = id
		}
	}
	for _, id := range members {
		f.known[id] = memberTree
	}
	return f
}

// purge kills what find returns until two looks in a row see nothing, or until
// the deadline; zero is none. It returns each once, and whether nothing is left.
func purge(log *slog.Logger, deadline time.Time, find func() ([]victim, error)) (killed []victim, gone bool) {
	told := make(map[identity]bool)
	pace, blind := sweepSoon, false
	for clean := 0; clean < 2; time.Sleep(pace) {
		var failure error
		batch := freezeAndKill(func() []victim {
			found, err := find()
			if err != nil {
				failure = err
			}
			return found
		})
		if failure == nil && len(batch) == 0 {
			clean++
			continue
		}
		if !deadline.IsZero() && time.Now().After(deadline) {
			return killed, false
		}
		if failure != nil && !blind {
			blind = true
			log.Error("processes could not be listed, it is tried again", "error", failure, "hint", scarcity(failure))
		}
		clean, pace = 0, min(pace*3/2, sweepSlowly)
		for _, v := range batch {
			if told[v.identity] {
				continue
			}
			told[v.identity] = true
			killed = append(killed, v)
			if v.err != nil {
				log.Error("a process cannot be killed: kill it as root", "os_pid", v.PID, "command", v.name, "of", v.tree, "error", v.err)
			}
		}
	}
	return killed, true
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
