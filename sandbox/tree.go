package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// keepHistory is how many ended processes a sandbox remembers.
const keepHistory = 32

// keepDropped is of how many slots that are no more the logs can still be read.
const keepDropped = 16

// tree is one sandbox: its supervisors and their slots. One goroutine, run, lives
// as long as the tree; it and the goroutines of its supervisors, which it awaits,
// write the tree's rows and tell its events.
type tree struct {
	m    *Manager
	spec Spec // with defaults
	uid  string
	root *branch
	// restored says that a former start of the node has kept it.
	restored bool

	destroyed chan struct{} // closed to ask for destruction
	once      sync.Once     // of closing it
	files     logFiles
	stored    chan struct{} // closed when the first row is stored, or was refused
	gone      chan struct{} // closed when the tree is no more

	mu      sync.Mutex // guards what follows
	row     memdb.Sandbox
	life    *life
	next    *life  // that is to come instead; nil if none is
	failure error  // why the present life's start failed, or the row was refused
	why     string // of the destruction; "" while there is none
	history []memdb.Process
	dropped []member                 // not shown any more, but their logs can be read; oldest first
	leaving map[string]chan struct{} // names that are being given up; closed when that is over
}

func newTree(m *Manager, spec Spec) *tree {
	t := &tree{
		m: m, spec: spec, uid: rand.Text(), life: newLife(""),
		destroyed: make(chan struct{}), stored: make(chan struct{}), gone: make(chan struct{}), leaving: make(map[string]chan struct{}),
	}
	raw, _ := jsontext.Marshal(spec) // a validated spec has nothing that cannot be encoded
	t.row = memdb.Sandbox{
		ID: spec.ID, UID: t.uid, Node: m.cfg.Node, Status: memdb.SandboxStarting,
		Failover: spec.Failover, Labels: spec.Labels, Created: m.now(), Spec: raw,
	}
	t.root = newBranch(t, "", Child{
		Strategy: spec.Strategy, MaxRestarts: spec.MaxRestarts, MaxSeconds: spec.MaxSeconds, Children: spec.Children,
	})
	return t
}

// run is the existence of the tree, life by life. One that has failed waits to be
// started again. It goes when it is destroyed or ctx ends.
func (t *tree) run(ctx context.Context) {
	defer t.close()
	if !t.open(ctx) {
		return
	}
	for l := t.life; l != nil; l = t.reborn(ctx) {
		t.live(ctx, l)
	}
	t.leave()
}

// live is one life of the tree. Nothing of it runs when it returns.
func (t *tree) live(ctx context.Context, l *life) {
	defer l.settle()
	if t.isDestroyed() {
		return // while it waited for its id
	}
	ctx, end := t.until(ctx, l)
	defer end()
	err := t.serve(ctx)
	if ctx.Err() == nil {
		t.fail(err)
		l.settle()
		t.startAgain(ctx, l, err)
		<-ctx.Done()
	}
}

// open takes the id and stores the first rows; false if that was refused.
func (t *tree) open(ctx context.Context) bool {
	defer close(t.stored)
	why := ""
	if t.restored {
		if !t.candidate(ctx) {
			return false
		}
		why = "restored from this node's data folder"
	} else if err := t.claim(ctx); err != nil {
		t.mu.Lock()
		t.failure = err
		t.mu.Unlock()
		return false
	}
	t.root.begin(t.root.reset)
	t.m.emit(Event{Type: SandboxCreated, Subject: t.spec.ID, Data: t.current(), Why: why})
	return true
}

// serve runs the root supervisor. The history of the one before it goes on.
func (t *tree) serve(ctx context.Context) error {
	opts := t.root.options()
	if before, err := t.root.supervisor(); err == nil {
		opts.History = before.History()
	}
	sup, err := supervisor.New(t.root.supervisorSpec(), opts)
	if err != nil {
		return err
	}
	t.root.mu.Lock()
	t.root.root = sup
	t.root.mu.Unlock()
	return sup.Serve(ctx)
}

// observe turns the events of a branch's supervisor into rows and events. It is
// called from that supervisor's goroutine.
func (t *tree) observe(b *branch, e supervisor.Event) {
	switch e := e.(type) {
	case supervisor.ChildExited:
		m := b.member(e.Child)
		t.remember(m.ended(e))
		if m.childSpec().Restart == supervisor.Temporary {
			b.forget(m)
		}
	case supervisor.ChildStartFailed:
		m := b.member(e.Child)
		t.remember(m.at().current())
		if !e.Restart && !b.ofSpec(m) { // it was to be added, and is not
			b.delist(m)
		}
	case supervisor.ChildStopping:
		m := b.member(e.Child)
		m.at().stopping(t.stopping(b, m))
	case supervisor.AllRunning:
		if b == t.root {
			t.running()
		}
	case supervisor.GaveUp:
		t.giveUp(b, e.Err)
	}
}

// running stores that all runs.
func (t *tree) running() {
	t.setStatus(memdb.SandboxRunning, "")
	t.root.update(func() { t.root.row.State = memdb.ProcessRunning })
	t.m.emit(Event{Type: SandboxRunning, Subject: t.spec.ID, Data: t.current()})
	t.mu.Lock()
	l := t.life
	t.mu.Unlock()
	l.settle()
}

// giveUp records why a branch's supervisor stops by itself.
func (t *tree) giveUp(b *branch, err error) {
	b.update(func() {
		b.failure = err
		b.row.State = memdb.ProcessStopping
	})
	if b == t.root {
		t.setStatus(memdb.SandboxStopping, err.Error())
	}
}

// stopping says by whom and why a branch's supervisor stops a child, and stores that
// the whole tree stops if that is why.
func (t *tree) stopping(b *branch, m member) (by string) {
	b.mu.Lock()
	failure, killer := b.failure, b.killer
	b.mu.Unlock()
	switch why := t.ending(); {
	case why != "":
		if t.current().Status != memdb.SandboxStopping {
			t.setStatus(memdb.SandboxStopping, why)
			t.root.stopping("its supervisor: " + why)
		}
		return "its supervisor: " + why
	case failure != nil:
		return "its supervisor: it gave up: " + failure.Error()
	case killer != "": // as its children
		return killer
	case m.at().wished() != "":
		return m.at().wished()
	default:
		return "its supervisor: " + b.spec.Strategy + " restarts it with another child"
	}
}

// ending says why the whole tree is to stop; "" if it is not.
func (t *tree) ending() string {
	t.mu.Lock()
	next := t.next
	t.mu.Unlock()
	switch {
	case t.isDestroyed():
		return "the sandbox was destroyed"
	case t.m.ending():
		return "the node is shutting down"
	case next != nil:
		return "the sandbox is restarted " + next.why
	}
	return ""
}

// fail stores that the tree has failed; nothing of it runs any more.
func (t *tree) fail(err error) {
	t.mu.Lock()
	t.failure = err
	t.mu.Unlock()
	t.setStatus(memdb.SandboxFailed, err.Error())
	exit := memdb.Exit{Cause: failureCause(err), Code: 1, Detail: brief(err.Error()), At: t.m.now()}
	t.root.update(func() { t.root.row.State, t.root.row.Exit = memdb.ProcessFailed, &exit })
	t.m.emit(Event{Type: SandboxFailed, Subject: t.spec.ID, Data: t.current(), Why: brief(err.Error())})
}

// failureCause tells a supervisor that never ran from one that gave up.
func failureCause(err error) memdb.ExitCause {
	var start *supervisor.StartError
	if errors.As(err, &start) {
		return memdb.CauseStartFailed
	}
	return memdb.CauseExited
}

// leave takes the tree's rows away when it was destroyed, and otherwise
// stores that it is stopped: the node is ending.
func (t *tree) leave() {
	if !t.isDestroyed() {
		if t.current().Status != memdb.SandboxFailed {
			why := "the node is shutting down"
			t.setStatus(memdb.SandboxStopped, why)
			exit := memdb.Exit{Cause: memdb.CauseKilled, By: why, At: t.m.now()}
			t.root.update(func() { t.root.row.State, t.root.row.Exit = memdb.ProcessExited, &exit })
		}
		return
	}
	t.root.each(func(m member) { m.at().erase() })
	t.m.stored("sandboxes", t.spec.ID, t.m.cfg.Store.DeleteSandbox(t.spec.ID))
	t.m.stored("disk", t.uid, t.m.cfg.Disk.DropSandbox(t.uid))
	t.release()
	t.m.emit(Event{Type: SandboxDestroyed, Subject: t.spec.ID, Data: t.current(), Why: t.whyDestroyed()})
}

// close ends the tree for everybody who waits for it.
func (t *tree) close() {
	t.mu.Lock()
	t.life.settle()
	if t.next != nil {
		t.next.settle()
	}
	t.mu.Unlock()
	t.root.each(member.close)
	t.m.forget(t)
	close(t.gone)
}

// destroy asks for the tree's end.
func (t *tree) destroy() { t.once.Do(func() { close(t.destroyed) }) }

func (t *tree) isDestroyed() bool { return closed(t.destroyed) }

// placed waits until the first row is stored.
func (t *tree) placed(ctx context.Context) (memdb.Sandbox, error) {
	select {
	case <-t.stored:
	case <-ctx.Done():
		return memdb.Sandbox{}, errs.Wrap(errs.Timeout, ctx.Err(), "sandbox %q is not stored yet", t.spec.ID)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.row.Status == memdb.SandboxStarting && t.failure != nil {
		return memdb.Sandbox{}, t.failure
	}
	return t.row, nil
}

// started waits until the start of a life, or of one that took its place meanwhile,
// has succeeded or failed.
func (t *tree) started(ctx context.Context, l *life) (memdb.Sandbox, error) {
	if _, err := t.placed(ctx); err != nil {
		return memdb.Sandbox{}, err
	}
	for settled := false; !settled; l, settled = t.newest(l) {
		select {
		case <-l.settled:
		case <-ctx.Done():
			return memdb.Sandbox{}, errs.Wrap(errs.Timeout, ctx.Err(), "sandbox %q is still starting, it goes on doing so: ask for it with sandbox.info", t.spec.ID)
		}
	}
	t.mu.Lock()
	row, failure := t.row, t.failure
	t.mu.Unlock()
	switch {
	case row.Status == memdb.SandboxFailed:
		return row, t.startFault(failure)
	case row.Status == memdb.SandboxRunning:
		return row, nil
	case t.isDestroyed():
		return row, errs.New(errs.Conflict, "sandbox %q was destroyed while it started", t.spec.ID)
	default:
		return row, errs.New(errs.NotReady, "sandbox %q is %s: node %s is stopping; create it on another node", t.spec.ID, row.Status, t.m.cfg.Node)
	}
}

// startFault is the error of a create whose first start failed. It is not
// definite: the failed sandbox is there.
func (t *tree) startFault(failure error) error {
	e := startFault(t.spec.Children, failure, "sandbox %q could not be started", t.spec.ID)
	e.Unsure = true
	return e.WithWhy("%s; the failed sandbox stays visible until it is destroyed", failure)
}

// startFault is the error of children of which one could not be started. Where the
// spec is to blame, its program or its name, it tells with a JSON pointer which.
func startFault(children []Child, failure error, format string, args ...any) *errs.Error {
	e := errs.Wrap(errs.Conflict, failure, format, args...)
	at, cause, found := programAt(children, failure)
	if !found || at == "" {
		return e
	}
	switch cause.Kind {
	case errs.BadSpec:
		at += "/run"
	case errs.NameTaken:
		at += "/name"
	default:
		return e
	}
	e.Kind, e.Faults = cause.Kind, cause.Faults
	if len(e.Faults) == 0 {
		e.Faults = []errs.Fault{{Pointer: at, Message: cause.Message}}
	}
	return e
}

// programAt follows the errors of supervisors down to the child that could not be
// started, and returns its JSON pointer and the cause.
func programAt(children []Child, failure error) (at string, cause *errs.Error, found bool) {
	var start *supervisor.StartError
	if !errors.As(failure, &start) {
		return "", errs.From(failure), true
	}
	for i, child := range children {
		if child.ID == start.Child {
			below, cause, found := programAt(child.Children, start.Err)
			return pointer("children", i) + below, cause, found
		}
	}
	return "", nil, false
}

// drop deletes members, and all below them, that are not shown any more. The logs
// of the newest can still be read.
func (t *tree) drop(members ...member) {
	for _, m := range members {
		m.each(func(m member) {
			m.at().erase()
			m.close()
			t.releaseName(m, "its child is no more")
			t.mu.Lock()
			t.dropped = append(t.dropped, m)
			var oldest member
			if len(t.dropped) > keepDropped {
				oldest = t.dropped[0]
				t.dropped = append([]member(nil), t.dropped[1:]...)
			}
			t.mu.Unlock()
			if oldest != nil {
				t.m.unindex(oldest)
				if s, ok := oldest.(*slot); ok {
					t.dropLog(s)
				}
			}
		})
	}
}

// remember adds an ended process to the history.
func (t *tree) remember(row memdb.Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.history = append(t.history, row)
	if over := len(t.history) - keepHistory; over > 0 {
		t.history = append([]memdb.Process(nil), t.history[over:]...)
	}
}

func (t *tree) current() memdb.Sandbox {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.row
}

func (t *tree) info() Info {
	t.mu.Lock()
	info := Info{Sandbox: t.row, Processes: []memdb.Process{}, History: append([]memdb.Process(nil), t.history...)}
	t.mu.Unlock()
	t.root.each(func(m member) {
		if row := m.at().current(); row.PID != "" {
			info.Processes = append(info.Processes, row)
		}
	})
	return info
}

// setStatus stores a new status.
func (t *tree) setStatus(status memdb.SandboxStatus, why string) {
	t.mu.Lock()
	t.row.Status, t.row.Why = status, brief(why)
	row := t.row
	t.mu.Unlock()
	t.m.stored("sandboxes", row.ID, t.m.cfg.Store.PutSandbox(row))
}
