package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// keepHistory is how many ended processes a sandbox remembers.
const keepHistory = 32

// tree is one sandbox: its supervisor and its slots. One goroutine, run, lives
// as long as the tree; it alone writes the tree's rows and tells its events.
type tree struct {
	m       *Manager
	spec    Spec   // with defaults
	uid     string // of this creation
	rootPID string
	slots   []*slot

	destroyed chan struct{} // closed to ask for destruction
	once      sync.Once     // of closing it
	stored    chan struct{} // closed when the first row is stored, or was refused
	gone      chan struct{} // closed when the tree is no more

	mu      sync.Mutex // guards what follows, against readers
	row     memdb.Sandbox
	root    memdb.Process
	failure error // why the first start failed, or the row was refused
	history []memdb.Process
	why     string        // of the destruction; "": by request
	settled chan struct{} // closed when the start of this life succeeded or failed

	restored    bool          // kept by a former start of the node
	again       chan struct{} // closed when nothing of this life is left; nil: no restart is asked for
	stopServing func()        // ends this life
}

func newTree(m *Manager, spec Spec) *tree {
	t := &tree{
		m: m, spec: spec, uid: rand.Text(), rootPID: m.nextPID(),
		destroyed: make(chan struct{}), stored: make(chan struct{}),
		settled: make(chan struct{}), gone: make(chan struct{}),
	}
	for _, child := range spec.Children {
		t.slots = append(t.slots, newSlot(t, child))
	}
	raw, _ := jsontext.Marshal(spec) // a validated spec has nothing that cannot be encoded
	now := m.now()
	t.row = memdb.Sandbox{
		ID: spec.ID, UID: t.uid, Node: m.cfg.Node, Status: memdb.SandboxStarting,
		Failover: spec.Failover, Labels: spec.Labels, Created: now, Spec: raw,
	}
	t.root = memdb.Process{
		PID: t.rootPID, Node: m.cfg.Node, Sandbox: spec.ID, Type: memdb.Supervisor,
		State: memdb.ProcessStarting, Started: now, Isolation: memdb.Isolation{Level: IsolationNone},
	}
	return t
}

// run is the life of the tree: it serves until it fails, is destroyed or ctx
// ends, and goes when destroyed or ctx ends. A failed one waits for that.
func (t *tree) run(ctx context.Context) {
	defer t.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !t.open(ctx) {
		return
	}
	t.m.tasks.Go(func() { // ends with ctx, which ends with run
		select {
		case <-t.destroyed:
			cancel()
		case <-ctx.Done():
		}
	})
	t.lives(ctx)
	t.leave()
}

// open takes the id and stores the first rows; false if that was refused.
func (t *tree) open(ctx context.Context) bool {
	defer close(t.stored)
	if t.restored {
		if !t.candidate(ctx) {
			return false
		}
	} else if err := t.claim(ctx); err != nil {
		t.mu.Lock()
		t.failure = err
		t.mu.Unlock()
		return false
	}
	t.m.stored("processes", t.rootPID, t.m.cfg.Store.PutProcess(t.root))
	why := ""
	if t.restored {
		why = "restored from this node's data folder"
	}
	t.m.emit(Event{Type: SandboxCreated, Subject: t.spec.ID, Data: t.current(), Why: why})
	return true
}

// serve runs the supervisor.
func (t *tree) serve(ctx context.Context) error {
	spec := supervisor.Spec{
		Strategy: supervisor.Strategy(t.spec.Strategy),
		Intensity: supervisor.Intensity{
			MaxRestarts: *t.spec.MaxRestarts,
			Period:      time.Duration(*t.spec.MaxSeconds) * time.Second,
		},
	}
	for _, s := range t.slots {
		spec.Children = append(spec.Children, supervisor.ChildSpec{
			ID: s.spec.ID, Restart: supervisor.Restart(s.spec.Restart), Shutdown: s.spec.shutdown(), Child: s,
		})
	}
	sup, err := supervisor.New(spec, supervisor.Options{OnEvent: t.observe, Now: t.m.cfg.Now})
	if err != nil {
		return err
	}
	return sup.Serve(ctx)
}

// observe turns the supervisor's events into rows and events. It is called
// from run's goroutine.
func (t *tree) observe(e supervisor.Event) {
	switch e := e.(type) {
	case supervisor.ChildExited:
		t.remember(t.slot(e.Child).exited())
	case supervisor.ChildStartFailed:
		t.remember(t.slot(e.Child).current())
	case supervisor.ChildStopping:
		t.stopping()
		t.slot(e.Child).stopping(t.whyStopping())
	case supervisor.AllRunning:
		t.setStatus(memdb.SandboxRunning, "")
		t.setRoot(memdb.ProcessRunning, nil)
		t.m.emit(Event{Type: SandboxRunning, Subject: t.spec.ID, Data: t.current()})
		t.settle()
	case supervisor.GaveUp:
		t.giveUp(e.Err)
	}
}

// giveUp records why the tree is stopping by itself.
func (t *tree) giveUp(err error) {
	t.mu.Lock()
	t.failure = err
	t.mu.Unlock()
	t.setStatus(memdb.SandboxStopping, err.Error())
}

// stopping stores that the tree stops, once.
func (t *tree) stopping() {
	if t.current().Status != memdb.SandboxStopping {
		t.setStatus(memdb.SandboxStopping, t.whyStopping())
		t.setRoot(memdb.ProcessStopping, nil)
	}
}

// whyStopping says why the tree stops its children.
func (t *tree) whyStopping() string {
	t.mu.Lock()
	failure, restarts := t.failure, t.again != nil
	t.mu.Unlock()
	switch {
	case failure != nil:
		return "its supervisor gave up: " + failure.Error()
	case t.isDestroyed():
		return "the sandbox was destroyed"
	case restarts:
		return "the sandbox is restarted"
	default:
		return "the node is shutting down"
	}
}

// fail stores that the tree has failed; nothing of it runs any more.
func (t *tree) fail(err error) {
	t.mu.Lock()
	t.failure = err
	t.mu.Unlock()
	t.setStatus(memdb.SandboxFailed, err.Error())
	t.setRoot(memdb.ProcessFailed, &memdb.Exit{Cause: failureCause(err), Code: 1, Detail: brief(err.Error()), At: t.m.now()})
	t.m.emit(Event{Type: SandboxFailed, Subject: t.spec.ID, Data: t.current(), Why: brief(err.Error())})
	t.settle()
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
			t.setStatus(memdb.SandboxStopped, "the node is shutting down")
		}
		return
	}
	for _, s := range t.slots {
		if pid := s.current().PID; pid != "" {
			t.m.stored("processes", pid, t.m.cfg.Store.DeleteProcess(pid))
		}
	}
	t.m.stored("processes", t.rootPID, t.m.cfg.Store.DeleteProcess(t.rootPID))
	t.m.stored("sandboxes", t.spec.ID, t.m.cfg.Store.DeleteSandbox(t.spec.ID))
	t.m.stored("disk", t.uid, t.m.cfg.Disk.DropSandbox(t.uid))
	t.release()
	t.because("destroyed on request")
	t.m.emit(Event{Type: SandboxDestroyed, Subject: t.spec.ID, Data: t.current(), Why: t.whyDestroyed()})
}

// close ends the tree for everybody who waits for it.
func (t *tree) close() {
	t.settle()
	for _, s := range t.slots {
		s.log.Close()
	}
	t.m.forget(t)
	close(t.gone)
}

// settle tells those who wait for the first start, once.
func (t *tree) settle() {
	select {
	case <-t.settled:
	default:
		close(t.settled)
	}
}

// destroy asks for the tree's end.
func (t *tree) destroy() { t.once.Do(func() { close(t.destroyed) }) }

func (t *tree) isDestroyed() bool {
	select {
	case <-t.destroyed:
		return true
	default:
		return false
	}
}

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

// running waits until the first start has succeeded or failed.
func (t *tree) running(ctx context.Context) (memdb.Sandbox, error) {
	if _, err := t.placed(ctx); err != nil {
		return memdb.Sandbox{}, err
	}
	if !t.started(ctx) {
		return memdb.Sandbox{}, errs.Wrap(errs.Timeout, ctx.Err(), "sandbox %q is still starting, it goes on doing so: ask for it with sandbox.info", t.spec.ID)
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
	cause := errs.From(failure)
	e := errs.Wrap(errs.Conflict, failure, "sandbox %q could not be started", t.spec.ID)
	var start *supervisor.StartError
	if cause.Kind == errs.BadSpec && errors.As(failure, &start) {
		e.Kind, e.Faults = errs.BadSpec, cause.Faults
		for i, child := range t.spec.Children {
			if child.ID == start.Child && len(e.Faults) == 0 {
				e.Faults = []errs.Fault{{Pointer: pointer("children", i, "run"), Message: cause.Message}}
			}
		}
	}
	e.Unsure = true
	return e.WithWhy("%s; the failed sandbox stays visible until it is destroyed", failure)
}

// slot finds a slot by its child's id.
func (t *tree) slot(child string) *slot {
	for _, s := range t.slots {
		if s.spec.ID == child {
			return s
		}
	}
	return nil
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
	info := Info{Sandbox: t.row, Processes: []memdb.Process{t.root}, History: append([]memdb.Process(nil), t.history...)}
	t.mu.Unlock()
	for _, s := range t.slots {
		if row := s.current(); row.PID != "" {
			info.Processes = append(info.Processes, row)
		}
	}
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

// setRoot stores a new state of the supervisor.
func (t *tree) setRoot(state memdb.ProcessState, exit *memdb.Exit) {
	t.mu.Lock()
	t.root.State, t.root.Exit = state, exit
	row := t.root
	t.mu.Unlock()
	t.m.stored("processes", row.PID, t.m.cfg.Store.PutProcess(row))
}
