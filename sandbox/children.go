package sandbox

import (
	"context"
	"errors"
	"strings"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// The methods below do what OTP's supervisor functions of the same names do. The
// supervisor is named by its pid. They wait while it is busy with starting or
// stopping a child; when ctx ends first the error does not tell whether it will be
// done. A child that was added lives as long as its supervisor: started again, that
// begins with the children of the spec. Common kinds: not_found (no such supervisor
// or child), conflict (the pid is of a program; the child's state), timeout.

// StartChild adds a child behind the others and starts it. Kinds: bad_spec,
// already_exists.
func (m *Manager) StartChild(ctx context.Context, pid string, spec Child) (memdb.Process, error) {
	b, sup, err := m.supervisor(pid)
	if err != nil {
		return memdb.Process{}, err
	}
	if err := b.takes(spec); err != nil {
		return memdb.Process{}, err
	}
	added := b.newMember(spec.WithDefaults())
	m.mu.Lock()
	err = m.roomFor(added)
	m.mu.Unlock()
	if err != nil {
		return memdb.Process{}, err
	}
	as := added.childSpec()
	as.Child = arrival{added, b}
	if _, err = sup.StartChild(ctx, as); err != nil {
		var failed *supervisor.StartError
		if errors.As(err, &failed) {
			return memdb.Process{}, childFault(spec, failed)
		}
		return memdb.Process{}, err
	}
	return added.at().current(), nil
}

// childFault is the error of a child that could not be started, and so was not
// added, or stays as it was. Its pointers are those of the child alone.
func childFault(spec Child, failed *supervisor.StartError) error {
	e := startFault([]Child{spec}, failed, "child %q could not be started", failed.Child)
	for i := range e.Faults {
		e.Faults[i].Pointer = strings.TrimPrefix(e.Faults[i].Pointer, pointer("children", 0))
	}
	return e
}

// takes checks a child that is to be added below a branch.
func (b *branch) takes(spec Child) error {
	var f faults
	depth := 1
	for _, c := range b.path {
		if c == '/' {
			depth++
		}
	}
	if b.path != "" {
		depth++
	}
	spec.check(&f, "", depth)
	if n := count([]Child{spec}) + b.tree.size(); n > maxChildren {
		f.add("", "the sandbox would have %d children and may have %d: make another sandbox", n, maxChildren)
	}
	return f.err()
}

// size is how many children the tree has, at any depth.
func (t *tree) size() int {
	n := -1 // the root is none
	t.root.each(func(member) { n++ })
	return n
}

// TerminateChild stops a child and all below it, and returns when nothing of it is
// left. It stays, to be restarted or deleted, unless it is temporary. by says who
// wants it.
func (m *Manager) TerminateChild(ctx context.Context, pid, child, by string) error {
	b, sup, err := m.supervisor(pid)
	if err != nil {
		return err
	}
	withdraw := func() {}
	if one := b.member(child); one != nil {
		withdraw = one.at().wish("terminate_child by " + by)
	}
	err = sup.TerminateChild(ctx, child)
	if err != nil && ctx.Err() != nil && m.later(func(run context.Context) {
		_, _ = sup.CountChildren(run) // when it answers, what was asked before is over or taken back
		withdraw()
	}) {
		return err
	}
	withdraw()
	return err
}

// RestartChild starts a child that has ended or was terminated.
func (m *Manager) RestartChild(ctx context.Context, pid, child string) (memdb.Process, error) {
	b, sup, err := m.supervisor(pid)
	if err != nil {
		return memdb.Process{}, err
	}
	if _, err := sup.RestartChild(ctx, child); err != nil {
		var failed *supervisor.StartError
		if one := b.member(child); one != nil && errors.As(err, &failed) {
			return memdb.Process{}, childFault(one.child(), failed)
		}
		return memdb.Process{}, err
	}
	if one := b.member(child); one != nil {
		return one.at().current(), nil
	}
	return memdb.Process{}, errs.New(errs.NotFound, "child %q has ended again and was temporary", child)
}

// DeleteChild forgets a child that has ended or was terminated.
func (m *Manager) DeleteChild(ctx context.Context, pid, child string) error {
	b, sup, err := m.supervisor(pid)
	if err != nil {
		return err
	}
	one := b.member(child)
	if err := sup.DeleteChild(ctx, child); err != nil {
		return err
	}
	if one != nil {
		b.delist(one)
	}
	return nil
}

// ChildInfo is one child of a supervisor, as which_children tells it.
type ChildInfo struct {
	ID      string                `json:"id"`
	PID     string                `json:"pid,omitempty"` // of the process that runs; "" if none does
	State   supervisor.ChildState `json:"state"`
	Type    supervisor.Type       `json:"type"`
	Restart supervisor.Restart    `json:"restart"`
}

// WhichChildren lists the children in the order of their start.
func (m *Manager) WhichChildren(ctx context.Context, pid string) ([]ChildInfo, error) {
	b, sup, err := m.supervisor(pid)
	if err != nil {
		return nil, err
	}
	children, err := sup.WhichChildren(ctx)
	list := make([]ChildInfo, 0, len(children))
	for _, c := range children {
		info := ChildInfo{ID: c.ID, State: c.State, Type: c.Type, Restart: c.Restart}
		if one := b.member(c.ID); one != nil && c.State == supervisor.StateRunning {
			info.PID = one.at().current().PID
		}
		list = append(list, info)
	}
	return list, err
}

// Counts are the children of a supervisor, as count_children tells them.
type Counts struct {
	Specs       int `json:"specs"`
	Active      int `json:"active"`
	Supervisors int `json:"supervisors"`
	Workers     int `json:"workers"`
}

// CountChildren counts the children.
func (m *Manager) CountChildren(ctx context.Context, pid string) (Counts, error) {
	_, sup, err := m.supervisor(pid)
	if err != nil {
		return Counts{}, err
	}
	counts, err := sup.CountChildren(ctx)
	return Counts(counts), err
}

// supervisor finds a supervisor by its pid.
func (m *Manager) supervisor(pid string) (*branch, *supervisor.Supervisor, error) {
	found, err := m.live(pid)
	if err != nil {
		return nil, nil, err
	}
	b, ok := found.(*branch)
	switch {
	case !ok:
		return nil, nil, errs.New(errs.Conflict, "%s is a program of sandbox %q and no supervisor: supervisor.list shows those", pid, found.at().tree.spec.ID)
	case b.current().PID != pid:
		return nil, nil, b.replaced(pid)
	}
	sup, err := b.supervisor()
	return b, sup, err
}
