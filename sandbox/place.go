package sandbox

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// keepPIDs is how many of a place's newest pids still resolve.
const keepPIDs = 16

// place is where one process after the other lives in a tree: what slots, whose
// processes run programs, and branches, whose processes are supervisors, have in
// common. Its row is written by the goroutine of the supervisor above it.
type place struct {
	tree *tree
	self member // whose place it is
	path string // of child ids, joined by "/": "workers/a"; "" is the root
	kind memdb.ProcessType

	mu     sync.Mutex
	row    memdb.Process // of the newest process; without a pid and a state before the first
	killer string        // who asked for the newest one's end, and why
	past   []ended       // newest last, without the newest process
	// wishes are who has asked the supervisor above to stop what runs here, which it
	// has not done yet; oldest first.
	wishes []*string
}

// ended is what a place remembers of a process that was replaced.
type ended struct {
	pid string
	why string
	at  time.Time
}

func newPlace(t *tree, path string, kind memdb.ProcessType) place {
	return place{tree: t, path: path, kind: kind, row: memdb.Process{
		Node: t.m.cfg.Node, Sandbox: t.spec.ID, Child: path, Type: kind,
	}}
}

// begin stores the row of the place's next process instead of the last one's, and
// returns both. With the row it changes what reset does.
func (p *place) begin(reset func()) (row, previous memdb.Process) {
	m := p.tree.m
	pid, forget := m.nextPID(), ""
	p.mu.Lock()
	previous = p.row
	restarts := 0
	if previous.PID != "" {
		restarts = previous.Restarts + 1
		p.past = append(p.past, ended{pid: previous.PID, why: describe(previous.Exit), at: exitTime(previous)})
	}
	if len(p.past) >= keepPIDs {
		forget = p.past[0].pid
		p.past = append([]ended(nil), p.past[1:]...)
	}
	p.row = memdb.Process{
		PID: pid, Node: m.cfg.Node, Sandbox: p.tree.spec.ID, Child: p.path, Type: p.kind,
		State: memdb.ProcessStarting, Started: m.now(), Restarts: restarts,
		Exit: previous.Exit,
	}
	p.killer = ""
	reset()
	row = p.row
	p.mu.Unlock()
	m.index(pid, forget, p)
	if previous.PID == "" {
		m.stored("processes", pid, m.cfg.Store.PutProcess(row))
	} else {
		m.stored("processes", pid, m.cfg.Store.ReplaceProcess(previous.PID, row))
	}
	return row, previous
}

func exitTime(row memdb.Process) time.Time {
	if row.Exit == nil {
		return time.Time{}
	}
	return row.Exit.At
}

// announce tells that the newest process runs.
func (p *place) announce(row, previous memdb.Process) {
	if previous.PID == "" {
		p.tree.m.emit(Event{Type: ProcessStarted, Subject: row.PID, Data: row})
		return
	}
	p.tree.m.emit(Event{
		Type: ProcessRestarted, Subject: row.PID, Data: Restarted{Process: row, Previous: previous.PID},
		Why: fmt.Sprintf("%s ended: %s", previous.PID, describe(previous.Exit)),
	})
}

// stopping stores that the newest process is being stopped, and by whom unless
// somebody else has asked for its end before.
func (p *place) stopping(by string) {
	p.update(func() {
		if p.killer == "" {
			p.killer = by
		}
		p.row.State = memdb.ProcessStopping
	})
}

// wish notes who asks the supervisor above to stop what runs here; withdraw takes
// that back.
func (p *place) wish(by string) (withdraw func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wishes = append(p.wishes, &by)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wishes = slices.DeleteFunc(slices.Clone(p.wishes), func(one *string) bool { return one == &by })
	}
}

// wished is who has asked first; "" if nobody has.
func (p *place) wished() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.wishes) == 0 {
		return ""
	}
	return *p.wishes[0]
}

// over stores how the newest process ended, and tells it.
func (p *place) over(state memdb.ProcessState, exit memdb.Exit) memdb.Process {
	row := p.update(func() { p.row.State, p.row.Exit = state, &exit })
	p.tree.m.emit(Event{Type: ProcessExited, Subject: row.PID, Data: row, Why: describe(row.Exit)})
	return row
}

// update changes the place under its lock and stores the row.
func (p *place) update(change func()) memdb.Process {
	p.mu.Lock()
	change()
	row := p.row
	p.mu.Unlock()
	p.tree.m.stored("processes", row.PID, p.tree.m.cfg.Store.PutProcess(row))
	return row
}

// current returns the newest process's row; its PID is "" before the first.
func (p *place) current() memdb.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.row
}

// erase deletes the newest process's row.
func (p *place) erase() {
	if pid := p.current().PID; pid != "" {
		p.tree.m.stored("processes", pid, p.tree.m.cfg.Store.DeleteProcess(pid))
	}
}

// replaced says of a pid that another one has taken its place.
func (p *place) replaced(pid string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replacedLocked(pid)
}

func (p *place) replacedLocked(pid string) error {
	what := "slot now runs"
	if p.kind == memdb.Supervisor {
		what = "supervisor runs again as"
	}
	err := errs.New(errs.NotFound, "process %s has ended: its %s %s", pid, what, p.row.PID)
	for _, old := range p.past {
		if old.pid == pid {
			return err.WithWhy("ended at %s: %s; the %s %s", stamp(old.at), old.why, what, p.row.PID)
		}
	}
	return err
}
