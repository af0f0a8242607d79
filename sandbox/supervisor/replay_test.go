package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// replay runs a script on our supervisor and tells the lines that
// testdata/otp.erl tells of OTP's. Its functions are named as those there.
type replay struct {
	ctx  context.Context
	root *supervisor.Supervisor
	stop context.CancelFunc

	mu      sync.Mutex
	lines   []string // what happened since it was last asked
	tries   map[string]int
	workers map[string]*worker
	sups    map[string]*supervisor.Supervisor
}

func (s script) replay(ctx context.Context) (lines []string) {
	r := &replay{
		ctx: ctx, tries: make(map[string]int),
		workers: make(map[string]*worker), sups: make(map[string]*supervisor.Supervisor),
	}
	var serving context.Context
	serving, r.stop = context.WithCancel(ctx)
	running := make(chan struct{})
	root, err := supervisor.New(r.spec(nil, s.root), supervisor.Options{OnEvent: func(e supervisor.Event) {
		if _, ok := e.(supervisor.AllRunning); ok {
			close(running)
		}
	}})
	if err != nil {
		return []string{err.Error()}
	}
	r.root, r.sups[""] = root, root
	r.tell("init", nil)
	go func() { _ = root.Serve(serving) }()
	defer func() {
		r.stop()
		<-root.Gone()
	}()
	select {
	case <-running:
	case <-root.Gone():
		return append(r.told(), "root failed")
	}
	lines = append(r.told(), r.tree())
	for _, step := range s.steps {
		lines = append(lines, step.String())
		lines = append(lines, r.do(step)...)
		lines = append(lines, r.told()...)
		lines = append(lines, r.tree())
	}
	return lines
}

func (r *replay) do(step scriptStep) []string {
	if step.op == "shutdown" {
		r.stop()
		<-r.root.Gone()
		return nil
	}
	sups := r.lineage(step.path)
	if !alive(sups[0]) {
		return []string{"no supervisor"}
	}
	lines, dead := r.act(sups[0], step)
	r.settle(sups, dead)
	return lines
}

func alive(s *supervisor.Supervisor) bool {
	if s == nil {
		return false
	}
	select {
	case <-s.Gone():
		return false
	default:
		return true
	}
}

func (r *replay) lineage(path []string) (sups []*supervisor.Supervisor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := len(path); n >= 0; n-- {
		sups = append(sups, r.sups[strings.Join(path[:n], ",")])
	}
	return sups
}

func (r *replay) settle(sups []*supervisor.Supervisor, dead []supervisor.Instance) {
	for _, s := range sups {
		for {
			children, err := s.WhichChildren(r.ctx)
			if err != nil {
				<-s.Gone()
				dead = []supervisor.Instance{nil} // noticed by its channel, below
				break
			}
			if !slices.ContainsFunc(children, func(c supervisor.ChildInfo) bool {
				return c.State == supervisor.StateRestarting || c.State == supervisor.StateRunning && over(c.Instance, dead)
			}) {
				return
			}
			runtime.Gosched()
		}
	}
}

// over reports whether a child that is said to run has ended: its supervisor
// has not handled that yet.
func over(in supervisor.Instance, dead []supervisor.Instance) bool {
	if in == nil || slices.Contains(dead, in) {
		return true
	}
	select {
	case <-in.Done():
		return true
	default:
		return false
	}
}

func (r *replay) act(sup *supervisor.Supervisor, step scriptStep) (lines []string, dead []supervisor.Instance) {
	switch step.op {
	case "exit":
		if w := r.kill(step); w != nil {
			return nil, []supervisor.Instance{w}
		}
		return []string{"no child"}, nil
	case "batch":
		return r.batch(sup, step)
	default:
		return []string{r.call(sup, step)}, nil
	}
}

// batch puts one message after the other into the mailbox of a supervisor that
// is busy with its gate.
func (r *replay) batch(sup *supervisor.Supervisor, step scriptStep) (lines []string, dead []supervisor.Instance) {
	entered, open := make(chan struct{}), make(chan struct{})
	gate := supervisor.ChildSpec{ID: step.child, Restart: supervisor.Temporary, Shutdown: 5 * time.Second, Child: start(func(ctx context.Context) (supervisor.Instance, error) {
		close(entered)
		<-open
		if step.fails {
			return nil, errors.New("refused")
		}
		return r.worker(step.path, scriptChild{id: step.child})
	})}
	results := []<-chan string{later(func() string {
		_, err := sup.StartChild(r.ctx, gate)
		return word(err)
	})}
	<-entered
	for _, s := range step.steps {
		before := sup.Waiting()
		if s.op == "exit" {
			w := r.kill(s)
			if w == nil {
				results = append(results, later(func() string { return "no child" }))
				continue
			}
			dead = append(dead, w)
		} else {
			results = append(results, later(func() string { return r.call(sup, s) }))
		}
		for sup.Waiting() == before {
			runtime.Gosched()
		}
	}
	close(open)
	for _, result := range results {
		lines = append(lines, <-result)
	}
	return lines, dead
}

func later(do func() string) <-chan string {
	result := make(chan string, 1)
	go func() { result <- do() }()
	return result
}

func (r *replay) kill(step scriptStep) *worker {
	r.mu.Lock()
	w := r.workers[at(step.path, step.child)]
	r.mu.Unlock()
	if w == nil || !w.end(supervisor.Reason(step.reason)) {
		return nil
	}
	return w
}

func (r *replay) call(sup *supervisor.Supervisor, step scriptStep) string {
	var err error
	switch step.op {
	case "start":
		_, err = sup.StartChild(r.ctx, r.child(step.path, step.spec))
	case "terminate":
		err = sup.TerminateChild(r.ctx, step.child)
	case "restart":
		_, err = sup.RestartChild(r.ctx, step.child)
	case "delete":
		err = sup.DeleteChild(r.ctx, step.child)
	case "which":
		var children []supervisor.ChildInfo
		if children, err = sup.WhichChildren(r.ctx); err == nil {
			return which(children)
		}
	case "count":
		var n supervisor.Counts
		if n, err = sup.CountChildren(r.ctx); err == nil {
			return count(n)
		}
	}
	return word(err)
}

// word is the result of a call in OTP's words.
func word(err error) string {
	var failed *supervisor.StartError
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, supervisor.ErrAlreadyStarted):
		return "already_started"
	case errors.Is(err, supervisor.ErrAlreadyPresent):
		return "already_present"
	case errors.Is(err, supervisor.ErrNotFound):
		return "not_found"
	case errors.Is(err, supervisor.ErrRunning):
		return "running"
	case errors.Is(err, supervisor.ErrRestarting):
		return "restarting"
	case errors.Is(err, supervisor.ErrEnded):
		return "ended"
	case errors.As(err, &failed):
		return "failed"
	default:
		return err.Error()
	}
}

func which(children []supervisor.ChildInfo) string {
	line := "which"
	for _, c := range children {
		line += fmt.Sprintf(" %s:%s:%s", c.ID, c.Type, c.State)
	}
	return line
}

func count(n supervisor.Counts) string {
	return fmt.Sprintf("count %d %d %d %d", n.Specs, n.Active, n.Supervisors, n.Workers)
}

func (r *replay) tree() string {
	if !alive(r.root) {
		return "tree ended"
	}
	return "tree " + r.branch(r.root)
}

func (r *replay) branch(sup *supervisor.Supervisor) string {
	children, err := sup.WhichChildren(r.ctx)
	n, err2 := sup.CountChildren(r.ctx)
	if err := errors.Join(err, err2); err != nil {
		return err.Error()
	}
	line := "[" + count(n)
	for _, c := range children {
		leaf := string(c.State)
		if nested := c.Supervisor(); nested != nil {
			leaf = r.branch(nested)
		}
		line += " " + c.ID + ":" + leaf
	}
	return line + "]"
}

func (r *replay) tell(what string, path []string, id ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%s [%s]", what, at(path, id...)))
}

func (r *replay) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func at(path []string, id ...string) string { return strings.Join(slices.Concat(path, id), ",") }

func (r *replay) spec(path []string, s scriptSup) supervisor.Spec {
	spec := supervisor.Spec{
		Strategy:  supervisor.Strategy(s.strategy),
		Intensity: supervisor.Intensity{MaxRestarts: s.max, Period: time.Hour},
	}
	for _, c := range s.children {
		spec.Children = append(spec.Children, r.child(path, c))
	}
	return spec
}

func (r *replay) child(path []string, c scriptChild) supervisor.ChildSpec {
	spec := supervisor.ChildSpec{ID: c.id, Restart: supervisor.Restart(c.restart), Shutdown: 5 * time.Second}
	if c.brutal {
		spec.Shutdown = 0
	}
	spec.Child = start(func(context.Context) (supervisor.Instance, error) { return r.worker(path, c) })
	if c.nested != nil {
		spec.Type, spec.Child = supervisor.TypeSupervisor, r.nested(at(path, c.id), slices.Concat(path, []string{c.id}), *c.nested)
	}
	return spec
}

// start is a child made of a function.
type start func(ctx context.Context) (supervisor.Instance, error)

func (s start) Start(ctx context.Context) (supervisor.Instance, error) { return s(ctx) }

func (r *replay) nested(key string, path []string, s scriptSup) supervisor.Child {
	nested, err := supervisor.NewNested(r.spec(path, s), supervisor.Options{})
	return start(func(ctx context.Context) (supervisor.Instance, error) {
		if err != nil {
			return nil, err
		}
		r.tell("init", path)
		in, err := nested.Start(ctx)
		r.mu.Lock()
		r.sups[key] = nested.Supervisor()
		r.mu.Unlock()
		if err != nil {
			r.tell("failed", path)
			return nil, err
		}
		r.tell("started", path)
		return in, nil
	})
}

// worker starts a worker, unless this try of its place is to fail.
func (r *replay) worker(path []string, c scriptChild) (supervisor.Instance, error) {
	key := at(path, c.id)
	r.mu.Lock()
	r.tries[key]++
	fails := slices.Contains(c.fails, r.tries[key])
	w := &worker{done: make(chan struct{}), stopped: func() { r.tell("stopped", path, c.id) }}
	if !fails {
		r.workers[key] = w
	}
	r.mu.Unlock()
	if fails {
		r.tell("failed", path, c.id)
		return nil, errors.New("refused")
	}
	r.tell("started", path, c.id)
	return w, nil
}

// worker is a child that ends when it is told to.
type worker struct {
	done    chan struct{}
	stopped func()

	mu     sync.Mutex
	reason supervisor.Reason
}

// end ends it; false if it had ended.
func (w *worker) end(reason supervisor.Reason) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason != "" {
		return false
	}
	w.reason = reason
	close(w.done)
	return true
}

func (w *worker) Done() <-chan struct{} { return w.done }

func (w *worker) Exit() (supervisor.Reason, string) { return w.reason, "told to" }

func (w *worker) Stop(grace time.Duration) {
	if grace > 0 {
		w.stopped()
	}
	w.end(supervisor.ReasonShutdown)
}
