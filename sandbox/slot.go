package sandbox

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// keepPIDs is how many of a slot's newest pids still resolve.
const keepPIDs = 16

// slot is the place of one child: it has one process after the other and one
// log. Its rows are written from the tree's goroutine.
type slot struct {
	tree *tree
	spec Child
	log  *Log

	mu     sync.Mutex
	row    memdb.Process // of the newest process; zero before the first
	proc   Process       // nil before the first and when it could not be started
	killer string        // who asked for the newest one's end, and why
	named  bool          // the slot holds its name
	past   []ended       // newest last, without the newest process
}

// ended is what a slot remembers of a process that was replaced.
type ended struct {
	pid string
	why string
	at  time.Time
}

func newSlot(t *tree, spec Child) *slot {
	return &slot{tree: t, spec: spec, log: NewLog(0, 0)}
}

// Start starts the next process of the slot. It implements supervisor.Child.
func (s *slot) Start(ctx context.Context) (supervisor.Instance, error) {
	m := s.tree.m
	previous := s.current()
	row := s.next(previous)
	if previous.PID == "" {
		m.stored("processes", row.PID, m.cfg.Store.PutProcess(row))
	} else {
		m.stored("processes", row.PID, m.cfg.Store.ReplaceProcess(previous.PID, row))
	}
	if err := s.takeName(ctx); err != nil {
		s.startFailed(ctx, err)
		return nil, err
	}
	proc, err := m.cfg.Runtime.Start(ctx, Task{
		PID: row.PID, Exec: s.spec.Run.Exec, Env: s.spec.Env, Dir: s.spec.Run.Dir, Log: s.log,
		Sandbox: s.tree.uid, Isolation: s.tree.spec.Isolation, Network: s.tree.spec.Network,
		Mounts: s.tree.spec.Mounts, Limits: s.spec.Limits,
	})
	if err != nil {
		s.startFailed(ctx, err)
		return nil, err
	}
	row = s.update(func() {
		s.proc = proc
		s.row.State, s.row.OSPID, s.row.Name = memdb.ProcessRunning, proc.OSPID(), s.spec.Name
		s.row.Isolation = proc.Isolation()
	})
	s.say("started as os process %d", row.OSPID)
	if previous.PID == "" {
		m.emit(Event{Type: ProcessStarted, Subject: row.PID, Data: row})
	} else {
		m.emit(Event{
			Type: ProcessRestarted, Subject: row.PID, Data: Restarted{Process: row, Previous: previous.PID},
			Why: fmt.Sprintf("%s ended: %s", previous.PID, describe(previous.Exit)),
		})
	}
	return instance{proc: proc, slot: s}, nil
}

// next makes the row of a new process and puts the old one into the past.
func (s *slot) next(previous memdb.Process) memdb.Process {
	m := s.tree.m
	pid, forget := m.nextPID(), ""
	s.mu.Lock()
	restarts := 0
	if previous.PID != "" {
		restarts = previous.Restarts + 1
		s.past = append(s.past, ended{pid: previous.PID, why: describe(previous.Exit), at: previous.Exit.At})
	}
	if len(s.past) >= keepPIDs {
		forget = s.past[0].pid
		s.past = append([]ended(nil), s.past[1:]...)
	}
	s.proc, s.killer = nil, ""
	s.row = memdb.Process{
		PID: pid, Node: m.cfg.Node, Sandbox: s.tree.spec.ID, Child: s.spec.ID, Type: memdb.Worker,
		State: memdb.ProcessStarting, Started: m.now(), Restarts: restarts, Isolation: memdb.Isolation{Level: IsolationNone},
		Exit: previous.Exit,
	}
	if s.named {
		s.row.Name = s.spec.Name
	}
	row := s.row
	s.mu.Unlock()
	m.index(pid, forget, s)
	return row
}

// startFailed records that the newest process never ran. If it was to be
// stopped while it started, that is no failure.
func (s *slot) startFailed(ctx context.Context, err error) {
	state, exit := memdb.ProcessFailed, memdb.Exit{Cause: memdb.CauseStartFailed, Code: 127, Detail: brief(err.Error())}
	if ctx.Err() != nil {
		state, exit = memdb.ProcessExited, memdb.Exit{Cause: memdb.CauseKilled, Code: 137, Signal: "SIGKILL", By: "its supervisor, while it started"}
	}
	exit.At = s.tree.m.now()
	row := s.update(func() { s.row.State, s.row.Exit = state, &exit })
	s.ended(row)
}

// exited records the end of the newest process.
func (s *slot) exited() memdb.Process {
	row := s.update(func() {
		exit := s.proc.Exit()
		if exit.Cause == memdb.CauseKilled && exit.By == "" {
			exit.By = s.killer
		}
		s.row.State, s.row.Exit = memdb.ProcessExited, &exit
	})
	s.ended(row)
	return row
}

// ended tells that the newest process has ended.
func (s *slot) ended(row memdb.Process) {
	why := describe(row.Exit)
	s.say("ended: %s", why)
	s.tree.m.emit(Event{Type: ProcessExited, Subject: row.PID, Data: row, Why: why})
}

// stopping records that the supervisor stops the newest process.
func (s *slot) stopping(why string) {
	s.update(func() {
		if s.killer == "" {
			s.killer = "its supervisor: " + why
		}
		s.row.State = memdb.ProcessStopping
	})
}

// update changes the slot under its lock and stores the row.
func (s *slot) update(change func()) memdb.Process {
	s.mu.Lock()
	change()
	row := s.row
	s.mu.Unlock()
	s.tree.m.stored("processes", row.PID, s.tree.m.cfg.Store.PutProcess(row))
	return row
}

// current returns the newest process's row; its PID is "" before the first.
func (s *slot) current() memdb.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.row
}

// target returns the process to kill, or why there is none, and notes by whom.
func (s *slot) target(pid, by string) (Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.row.PID != pid {
		return nil, s.replacedLocked(pid)
	}
	if s.proc == nil && s.row.State == memdb.ProcessStarting {
		return nil, errs.New(errs.Conflict, "process %s is still starting: try again", pid)
	}
	if s.proc == nil || s.row.State == memdb.ProcessExited {
		return nil, errs.New(errs.NotFound, "process %s has ended", pid).
			WithWhy("ended at %s: %s", stamp(s.row.Exit.At), describe(s.row.Exit))
	}
	select {
	case <-s.proc.Done(): // its supervisor has not seen it yet
		exit := s.proc.Exit()
		return nil, errs.New(errs.NotFound, "process %s has ended", pid).WithWhy("ended at %s: %s", stamp(exit.At), describe(&exit))
	default:
	}
	s.killer = by
	return s.proc, nil
}

// grace is how long a kill leaves the process to end.
func (s *slot) grace(reason Reason, force bool) time.Duration {
	if reason == ReasonKill || force {
		return 0
	}
	return s.spec.shutdown()
}

// replaced says what became of an old pid of the slot.
func (s *slot) replaced(pid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replacedLocked(pid)
}

func (s *slot) replacedLocked(pid string) error {
	err := errs.New(errs.NotFound, "process %s has ended: its slot now runs %s", pid, s.row.PID)
	for _, old := range s.past {
		if old.pid == pid {
			return err.WithWhy("ended at %s: %s; the slot now runs %s", stamp(old.at), old.why, s.row.PID)
		}
	}
	return err
}

// say adds a line of Glassbox's own to the log.
func (s *slot) say(format string, args ...any) {
	s.log.Append(s.tree.m.now(), System, s.current().PID, fmt.Sprintf(format, args...))
}

// instance is one process as its supervisor sees it.
type instance struct {
	proc Process
	slot *slot
}

// Done implements supervisor.Instance.
func (i instance) Done() <-chan struct{} { return i.proc.Done() }

// Exit implements supervisor.Instance: only exit code 0 is normal.
func (i instance) Exit() (normal bool, why string) {
	exit := i.proc.Exit()
	return exit.Code == 0 && exit.Cause != memdb.CauseLost, describe(&exit)
}

// Stop implements supervisor.Instance.
func (i instance) Stop(grace time.Duration) { i.proc.Stop(grace) }

// describe says in words how a process ended.
func describe(exit *memdb.Exit) string {
	if exit == nil {
		return "not known"
	}
	text := fmt.Sprintf("exit code %d", exit.Code)
	switch {
	case exit.Cause == memdb.CauseStartFailed:
		return "could not be started: " + exit.Detail
	case exit.Cause == memdb.CauseLost:
		text = "lost"
	case exit.Signal != "":
		text = "ended by " + exit.Signal
	}
	if exit.By != "" {
		text += ", " + exit.By
	}
	if exit.Detail != "" {
		text += " (" + exit.Detail + ")"
	}
	return text
}

// maxWhy bounds a reason, which travels to all nodes, in bytes.
const maxWhy = 2 << 10

// brief cuts a reason that is too long.
func brief(why string) string {
	if len(why) <= maxWhy {
		return why
	}
	return strings.ToValidUTF8(why[:maxWhy], "") + " …"
}

// stamp writes a time as the API does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
