package sandbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/message"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// slot is the place of one program: it has one process after the other and one
// log.
type slot struct {
	place
	spec Child
	log  *Log
	kept sync.Once // of beginning to keep the log in files

	// Guarded by mu.
	proc  Process       // nil before the first and when it could not be started
	talk  *message.Conn // with proc; nil unless the child has a protocol
	named bool          // the slot holds its name
	file  *logFile      // nil before the first start, and without a folder
}

func (s *slot) id() string   { return s.spec.ID }
func (s *slot) child() Child { return s.spec }
func (s *slot) at() *place   { return &s.place }

// close ends the slot for those who follow its log.
func (s *slot) close() { s.log.Close() }

func (s *slot) each(f func(member)) { f(s) }

// childSpec is the slot as its supervisor sees it.
func (s *slot) childSpec() supervisor.ChildSpec {
	return supervisor.ChildSpec{
		ID: s.spec.ID, Type: supervisor.TypeWorker, Restart: supervisor.Restart(s.spec.Restart), Shutdown: s.spec.shutdown(), Child: s,
	}
}

func newSlot(t *tree, path string, spec Child) *slot {
	s := &slot{place: newPlace(t, path, memdb.Worker), spec: spec, log: NewLog(0, 0)}
	s.self = s
	return s
}

// Start starts the next process of the slot. It implements supervisor.Child.
func (s *slot) Start(ctx context.Context) (supervisor.Instance, error) {
	s.kept.Do(s.keepLog)
	row, previous := s.begin(func() {
		s.proc, s.talk = nil, nil
		if s.named {
			s.row.Name = s.spec.Name
		}
	})
	if err := s.takeName(ctx); err != nil {
		return nil, s.startFailed(ctx, err)
	}
	talk := s.conversation(row.PID)
	proc, err := s.tree.m.cfg.Runtime.Start(ctx, Task{
		Stdout: readerOf(talk), PID: row.PID, Exec: s.spec.Run.Exec, Env: s.spec.Env, Dir: s.spec.Run.Dir, Log: s.log,
		Sandbox: s.tree.uid, Isolation: s.tree.spec.Isolation, Network: s.tree.spec.Network,
		Mounts: s.tree.spec.Mounts, Limits: s.spec.Limits,
	})
	if err != nil {
		return nil, s.startFailed(ctx, err)
	}
	if talk != nil {
		talk.Open(proc.Stdin())
	}
	row = s.update(func() {
		s.proc, s.talk = proc, talk
		s.row.State, s.row.OSPID, s.row.Name = memdb.ProcessRunning, proc.OSPID(), s.spec.Name
		s.row.Isolation = proc.Isolation()
	})
	s.say("started as os process %d", row.OSPID)
	s.announce(row, previous)
	return instance{proc: proc, slot: s}, nil
}

// startFailed records that the newest process never ran, and returns why. If it was
// to be stopped while it started, that is no failure.
func (s *slot) startFailed(ctx context.Context, err error) error {
	state, exit := memdb.ProcessFailed, memdb.Exit{Cause: memdb.CauseStartFailed, Code: 127, Detail: brief(err.Error())}
	if ctx.Err() != nil {
		state, exit = memdb.ProcessExited, memdb.Exit{Cause: memdb.CauseKilled, Code: 137, Signal: "SIGKILL", By: "its supervisor, while it started"}
		err = s.tree.stoppedStart()
	}
	exit.At = s.tree.m.now()
	s.say("ended: %s", describe(&exit))
	s.over(state, exit)
	return err
}

// ended records the end of the newest process.
func (s *slot) ended(supervisor.ChildExited) memdb.Process {
	s.mu.Lock()
	exit := s.proc.Exit()
	if exit.Cause == memdb.CauseKilled && exit.By == "" {
		exit.By = s.killer
	}
	s.mu.Unlock()
	s.say("ended: %s", describe(&exit))
	return s.over(memdb.ProcessExited, exit)
}

// target returns the process to kill, or why there is none, and notes by whom.
func (s *slot) target(pid, by string) (Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	proc, err := s.liveLocked(pid)
	if err == nil {
		s.killer = by
	}
	return proc, err
}

// live returns the process, which runs, or why it does not.
func (s *slot) live(pid string) (Process, *message.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	proc, err := s.liveLocked(pid)
	return proc, s.talk, err
}

func (s *slot) liveLocked(pid string) (Process, error) {
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
	return s.proc, nil
}

// grace is how long a kill leaves the process to end.
func (s *slot) grace(reason Reason, force bool) time.Duration {
	if reason == ReasonKill || force {
		return 0
	}
	return s.spec.shutdown()
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
func (i instance) Exit() (supervisor.Reason, string) {
	exit := i.proc.Exit()
	if exit.Code == 0 && exit.Cause != memdb.CauseLost {
		return supervisor.ReasonNormal, describe(&exit)
	}
	return supervisor.ReasonAbnormal, describe(&exit)
}

// Stop implements supervisor.Instance.
func (i instance) Stop(grace time.Duration) { i.proc.Stop(grace) }
