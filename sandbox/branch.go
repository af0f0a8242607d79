package sandbox

import (
	"context"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// member is a child of a supervisor: a [slot] or a [branch].
type member interface {
	supervisor.Child
	id() string
	at() *place
	// child is its part of the spec, with defaults.
	child() Child
	// childSpec is the member as its supervisor sees it.
	childSpec() supervisor.ChildSpec
	// ended records the end of its newest process, which it returns.
	ended(e supervisor.ChildExited) memdb.Process
	// node is the member and all below it, to be shown.
	node(now time.Time) Node
	// each calls f with the member and all below it, from the top.
	each(f func(member))
	// close says that nothing will follow.
	close()
}

// keepForgotten is how many children that their supervisor has forgotten, since they
// were temporary and have ended, are still shown.
const keepForgotten = 16

// branch is the place of one supervisor: the root of a tree, or a child that is a
// supervisor of its own.
type branch struct {
	place
	spec   Child              // with defaults; the root's has no id
	static []member           // the children of the spec
	nested *supervisor.Nested // nil for the root

	// Guarded by mu. The members are those that are shown, in the order of their
	// start; forgotten are the dynamic ones of which the supervisor knows nothing
	// any more, oldest first.
	members   []member
	forgotten []member
	failure   error                  // why it gave up
	root      *supervisor.Supervisor // the newest of the root; nil before the first, and of others
}

// newBranch makes a supervisor and all that is below it. Its spec is valid.
func newBranch(t *tree, path string, spec Child) *branch {
	b := &branch{place: newPlace(t, path, memdb.Supervisor), spec: spec}
	b.self = b
	for _, child := range spec.Children {
		b.static = append(b.static, b.newMember(child))
	}
	b.members = slices.Clone(b.static)
	return b
}

// newMember makes a child of the branch; its spec has defaults and is valid.
func (b *branch) newMember(spec Child) member {
	path := spec.ID
	if b.path != "" {
		path = b.path + "/" + path
	}
	if !spec.Supervises() {
		return newSlot(b.tree, path, spec)
	}
	child := newBranch(b.tree, path, spec)
	child.nested, _ = supervisor.NewNested(child.supervisorSpec(), child.options()) // a valid spec has no faults
	return child
}

// supervisorSpec is the spec of the branch's supervisor.
func (b *branch) supervisorSpec() supervisor.Spec {
	spec := supervisor.Spec{
		Strategy: supervisor.Strategy(b.spec.Strategy),
		Intensity: supervisor.Intensity{
			MaxRestarts: *b.spec.MaxRestarts,
			Period:      time.Duration(*b.spec.MaxSeconds) * time.Second,
		},
	}
	for _, m := range b.static {
		spec.Children = append(spec.Children, m.childSpec())
	}
	return spec
}

func (b *branch) options() supervisor.Options {
	return supervisor.Options{
		Name: b.path, Now: b.tree.m.cfg.Now,
		OnEvent: func(e supervisor.Event) { b.tree.observe(b, e) },
	}
}

func (b *branch) id() string   { return b.spec.ID }
func (b *branch) child() Child { return b.spec }
func (b *branch) at() *place   { return &b.place }

func (b *branch) childSpec() supervisor.ChildSpec {
	return supervisor.ChildSpec{
		ID: b.spec.ID, Type: supervisor.TypeSupervisor, Restart: supervisor.Restart(b.spec.Restart), Shutdown: supervisor.Infinity, Child: b,
	}
}

// Start starts a nested supervisor again, with the children of its spec. It
// implements supervisor.Child.
func (b *branch) Start(ctx context.Context) (supervisor.Instance, error) {
	_, previous := b.begin(b.reset)
	b.renew()
	in, err := b.nested.Start(ctx)
	if err != nil {
		return nil, b.startFailed(ctx, err)
	}
	row := b.update(func() { b.row.State = memdb.ProcessRunning })
	b.announce(row, previous)
	return in, nil
}

func (b *branch) reset() { b.failure = nil }

// startFailed does what that of a slot does.
func (b *branch) startFailed(ctx context.Context, err error) error {
	state, exit := memdb.ProcessFailed, memdb.Exit{Cause: memdb.CauseStartFailed, Code: 1, Detail: brief(err.Error()), At: b.tree.m.now()}
	if ctx.Err() != nil {
		state, exit.Cause, exit.Detail, exit.By = memdb.ProcessExited, memdb.CauseKilled, "", "its supervisor, while it started"
		err = b.tree.stoppedStart()
	}
	b.over(state, exit)
	return err
}

// ended records the end of the branch's newest supervisor.
func (b *branch) ended(e supervisor.ChildExited) memdb.Process {
	exit := memdb.Exit{Cause: memdb.CauseExited, Code: 1, Detail: brief(e.Why), At: b.tree.m.now()}
	b.mu.Lock()
	if b.killer != "" {
		exit.Cause, exit.Code, exit.Detail, exit.By = memdb.CauseKilled, 0, "", b.killer
	}
	b.mu.Unlock()
	return b.over(memdb.ProcessExited, exit)
}

// supervisor returns the newest supervisor of the branch.
func (b *branch) supervisor() (*supervisor.Supervisor, error) {
	if b.nested != nil {
		return b.nested.Supervisor(), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.root == nil {
		return nil, errs.New(errs.Conflict, "sandbox %q is still starting: try again", b.tree.spec.ID)
	}
	return b.root, nil
}

// renew drops the members that are not of the spec: a supervisor begins with
// those alone.
func (b *branch) renew() {
	b.mu.Lock()
	var dropped []member
	for _, m := range b.members {
		if !b.ofSpec(m) {
			dropped = append(dropped, m)
		}
	}
	b.members, b.forgotten = slices.Clone(b.static), nil
	b.mu.Unlock()
	b.tree.drop(dropped...)
}

// enlist shows a member that is about to be started, behind the others. What had
// its id before the supervisor has forgotten.
func (b *branch) enlist(m member) {
	b.mu.Lock()
	if slices.Contains(b.members, m) {
		b.mu.Unlock()
		return
	}
	var kept, dropped []member
	for _, other := range b.members {
		if other.id() == m.id() {
			dropped = append(dropped, other)
		} else {
			kept = append(kept, other)
		}
	}
	b.members = append(kept, m)
	b.mu.Unlock()
	for _, other := range dropped {
		b.displace(other)
	}
}

// displace shows a member no more whose id another one has now. A child of the spec
// comes back when the supervisor is started again.
func (b *branch) displace(m member) {
	if !b.ofSpec(m) {
		b.tree.drop(m)
		return
	}
	m.each(func(m member) {
		m.at().erase()
		b.tree.releaseName(m, "its child is no more")
	})
}

// ofSpec says whether a member is one of the spec's.
func (b *branch) ofSpec(m member) bool { return slices.Contains(b.static, m) }

// arrival is a member that was not there when its supervisor began: it is shown
// once the supervisor starts it, in the order of what that does.
type arrival struct {
	member
	to *branch
}

// Start implements supervisor.Child.
func (a arrival) Start(ctx context.Context) (supervisor.Instance, error) {
	a.to.enlist(a.member)
	return a.member.Start(ctx)
}

// forget notes that the supervisor has forgotten a member, since it was temporary
// and has ended. The newest such are still shown.
func (b *branch) forget(m member) {
	m.each(func(m member) { b.tree.releaseName(m, "its child has ended, and was temporary") })
	if b.ofSpec(m) {
		return // it stays shown, as having ended
	}
	b.mu.Lock()
	b.forgotten = append(b.forgotten, m)
	if len(b.forgotten) <= keepForgotten {
		b.mu.Unlock()
		return
	}
	oldest := b.forgotten[0]
	b.forgotten = slices.Clone(b.forgotten[1:])
	b.mu.Unlock()
	b.delist(oldest)
}

// delist shows a member no more.
func (b *branch) delist(m member) {
	b.mu.Lock()
	is := func(other member) bool { return other == m }
	listed := slices.ContainsFunc(b.members, is)
	b.members = slices.DeleteFunc(slices.Clone(b.members), is)
	b.mu.Unlock()
	if listed {
		b.tree.drop(m)
	}
}

// member finds a member by its id.
func (b *branch) member(id string) member {
	for _, m := range b.shown() {
		if m.id() == id {
			return m
		}
	}
	return nil
}

// shown returns the members of this moment.
func (b *branch) shown() []member {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.members)
}

func (b *branch) each(f func(member)) {
	f(b)
	for _, m := range b.shown() {
		m.each(f)
	}
}

// close also tells who follows the children of the spec that are not shown. The
// supervisor itself has no log.
func (b *branch) close() {
	for _, m := range b.static {
		m.each(member.close)
	}
}
