package sandbox

import (
	"context"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Reason says how [Manager.Kill] ends a process.
type Reason string

// The reasons. Either way the process's supervisor then restarts it by its
// rules.
const (
	ReasonKill     Reason = "kill"     // SIGKILL to the tree, at once
	ReasonShutdown Reason = "shutdown" // SIGTERM, then SIGKILL after the child's shutdown time
)

// Kill ends a process and all its descendants, and returns when nothing of them
// is left. Force makes a shutdown a kill: no time to end is given. By says who
// wants it, for the process's exit. When ctx ends first the killing goes on.
// Kinds: bad_parameter, not_found, conflict (a supervisor), timeout, internal (the
// system does not let it end).
func (m *Manager) Kill(ctx context.Context, pid string, reason Reason, force bool, by string) error {
	if reason != ReasonKill && reason != ReasonShutdown {
		return errs.BadParam("reason", "is %q: use %q or %q", reason, ReasonKill, ReasonShutdown)
	}
	s, err := m.liveSlot(pid)
	if err != nil {
		return err
	}
	proc, err := s.target(pid, string(reason)+" by "+by)
	if err != nil {
		return err
	}
	if err := m.end(ctx, proc, s.grace(reason, force)); err != nil {
		return errs.Wrap(errs.Timeout, err, "process %s has not ended yet, killing it goes on: ask again later", pid)
	}
	return stuckError("process "+pid, proc.Exit())
}

// end stops a process or returns ctx's error.
func (m *Manager) end(ctx context.Context, proc Process, grace time.Duration) error {
	if grace == 0 {
		return proc.Kill(ctx)
	}
	m.mu.Lock()
	// When Run is over already the supervisors are stopping all processes.
	m.goTask(func() { proc.Stop(grace) })
	m.mu.Unlock()
	select {
	case <-proc.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Signal sends a signal to a program itself, not to what it started. By says who
// wants it, for the log. Kinds: bad_parameter, not_found, conflict (a supervisor, or
// it is still starting).
func (m *Manager) Signal(pid, name, by string) error {
	sig, err := parseSignal(name)
	if err != nil {
		return err
	}
	s, err := m.liveSlot(pid)
	if err != nil {
		return err
	}
	proc, _, err := s.live(pid)
	if err != nil {
		return err
	}
	if err := proc.Signal(sig); err != nil {
		return err
	}
	s.say("signal %s sent by %s", signalName(sig), by)
	return nil
}

// Logs returns the log of a process's slot and the pid that the slot has now.
// The pid asked for may be that of one of the slot's 16 newest processes, and
// that of a sandbox destroyed lately. Kinds: not_found, conflict (a supervisor).
func (m *Manager) Logs(pid string) (log *Log, current string, err error) {
	s, err := m.slot(pid)
	if err != nil {
		return nil, "", err
	}
	return s.log, s.current().PID, nil
}

// Process returns the row of a process. An ended process that was replaced is
// not_found, with the pid that replaced it as why.
func (m *Manager) Process(pid string) (memdb.Process, error) {
	found, err := m.live(pid)
	if err != nil {
		return memdb.Process{}, err
	}
	row := found.at().current()
	if row.PID != pid {
		return memdb.Process{}, found.at().replaced(pid)
	}
	return row, nil
}

// member finds what a pid is or was of.
func (m *Manager) member(pid string) (member, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, ok := m.pids[pid]; ok {
		return found, nil
	}
	return nil, errs.New(errs.NotFound, "no process %q on node %q: see which there are with process.list", pid, m.cfg.Node)
}

// live finds what a pid is or was of, in a sandbox that is there.
func (m *Manager) live(pid string) (member, error) {
	found, err := m.member(pid)
	if err != nil {
		return nil, err
	}
	if t := found.at().tree; closed(t.gone) {
		return nil, errs.New(errs.NotFound, "process %s has ended with its sandbox %q", pid, t.spec.ID)
	}
	return found, nil
}

// slot finds the slot a pid is or was of.
func (m *Manager) slot(pid string) (*slot, error) {
	found, err := m.member(pid)
	if err != nil {
		return nil, err
	}
	return program(pid, found)
}

// liveSlot finds the slot a pid is or was of, in a sandbox that is there.
func (m *Manager) liveSlot(pid string) (*slot, error) {
	found, err := m.live(pid)
	if err != nil {
		return nil, err
	}
	return program(pid, found)
}

// program refuses a supervisor where a program is wanted.
func program(pid string, found member) (*slot, error) {
	if s, ok := found.(*slot); ok {
		return s, nil
	}
	return nil, errs.New(errs.Conflict, "%s is a supervisor of sandbox %q and no program: name one of its children, or destroy the sandbox",
		pid, found.at().tree.spec.ID)
}

// index makes a pid resolve to what it is of, and forgets that one's oldest.
func (m *Manager) index(pid, forget string, of *place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pids[pid] = of.self
	delete(m.pids, forget)
}
