package exec

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// Config is what a [Runtime] needs.
type Config struct {
	// Command starts the guardian; nil is this executable with the argument
	// "guardian". What it starts must call [GuardianMain] before anything else.
	Command []string
	// Node is the node's name, the first part of its programs' pids. When Run
	// begins, programs of this name that nobody holds any more are killed. Empty:
	// none are looked for.
	Node string
	// RequireIsolation is the weakest level that programs are run with; weaker ones
	// are refused. "" is none.
	RequireIsolation string
	// Ports tells the node's own TCP ports, which confined programs can neither
	// connect to nor bind; nil: there are none.
	Ports func() []int
	// Open says that the node's API asks for no token. Where Ports cannot be closed,
	// programs that are to be confined are then refused.
	Open bool
	// Protected are the node's own files and folders, which no mount shows.
	Protected []string
	// FirstUser and Users are the range of users that a node that runs as root gives
	// its sandboxes; zero is DefaultFirstUser, DefaultUsers.
	FirstUser, Users int
	// TmpMB is the size of a program's /tmp at the level namespaces and of its work
	// folder at the level process, in MiB; zero is DefaultTmpMB. Where the node may
	// not mount it bounds each file of a work folder.
	TmpMB int
}

// Runtime starts programs on this machine. It implements sandbox.Runtime. All
// methods may be called from several goroutines at once.
type Runtime struct {
	cfg    Config
	log    *slog.Logger
	wanted chan struct{} // asks Run for a guardian

	asked    chan struct{} // has a token when somebody waits for tested
	tested   chan struct{} // closed when it is known what works
	confiner *confiner     // set before tested is closed, constant after; nil: Run ended before

	mu      sync.Mutex
	running bool          // Run runs and its context has not ended
	link    *link         // nil while there is no guardian
	tried   int           // how often a guardian was to be started
	failure error         // of the last time
	changed chan struct{} // closed and replaced when one of these changes
}

// New makes a runtime; it starts nothing. A nil log discards.
func New(cfg Config, log *slog.Logger) *Runtime {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Runtime{cfg: cfg, log: log, wanted: make(chan struct{}, 1), changed: make(chan struct{}), asked: make(chan struct{}, 1), tested: make(chan struct{})}
}

// Run serves until ctx ends; then it kills all programs, without grace, and
// returns when nothing of them is left. First it kills what a former life of the
// node left. It starts the guardian when the first program is started, and another
// one when that has died and a program is started again. Its error is always nil.
// It can be called once.
func (r *Runtime) Run(ctx context.Context) error {
	r.set(func() { r.running = true })
	stop := context.AfterFunc(ctx, func() { r.set(func() { r.running = false }) })
	defer stop()
	if r.cfg.Node != "" {
		sweepLeftovers(r.cfg.Node, r.log)
	}
	if !r.curious(ctx) {
		close(r.tested) // those who wait see that there is no confiner
		return nil
	}
	r.confiner = newConfiner(r.cfg, r.log)
	defer r.confiner.close()
	close(r.tested)
	var pause time.Duration
	next := time.NewTimer(0) // the earliest start of a guardian
	defer next.Stop()
	for {
		select {
		case <-r.wanted:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		r.guard(ctx)
		pause = backOff(pause, time.Since(began))
		next.Reset(pause)
	}
}

// selfTestAfter is how long the self-tests leave the machine to others if nobody
// asks for their outcome: a node that starts has better things to do.
const selfTestAfter = time.Second

// curious waits until it is time to find out what works; false if ctx ended first.
func (r *Runtime) curious(ctx context.Context) bool {
	timer := time.NewTimer(selfTestAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.asked:
	case <-ctx.Done():
		return false
	}
	return true
}

// whatWorks waits for the outcome of the self-tests.
func (r *Runtime) whatWorks(ctx context.Context) (*confiner, error) {
	select {
	case r.asked <- struct{}{}:
	default:
	}
	select {
	case <-r.tested:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r.confiner == nil {
		return nil, errNotRunning()
	}
	return r.confiner, nil
}

// Times between two starts of a guardian: one that dies at once must not keep
// the machine busy.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
	steadyTime = 5 * time.Second // one that lived so long died for another reason
)

// backOff is the pause after a guardian that lived so long.
func backOff(pause, lived time.Duration) time.Duration {
	if lived >= steadyTime {
		return 0
	}
	return min(max(2*pause, firstPause), maxPause)
}

// guard serves one guardian until it ends, which it does when ctx ends.
func (r *Runtime) guard(ctx context.Context) {
	l, err := startGuardian(r.cfg, r.log)
	if err != nil {
		r.log.Error("the guardian could not be started", "error", err)
		r.set(func() { r.tried, r.failure = r.tried+1, err })
		return
	}
	r.set(func() { r.tried, r.failure, r.link = r.tried+1, nil, l })
	select { // who has asked while it was started has one now
	case <-r.wanted:
	default:
	}
	l.serve(ctx)
	// First, so that whoever is told of an end below asks for the next one.
	r.set(func() { r.link = nil })
	l.bury(ctx.Err() == nil)
}

// set changes the state and tells those who wait.
func (r *Runtime) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// Start implements sandbox.Runtime. Kinds: bad_spec (the program or its
// directory does not exist, cannot be run, or was refused by the system, or a
// limit or mount is impossible), conflict (the isolation cannot be had here),
// internal (the system has no room: the message says what to raise),
// not_ready (Run does not run), node_unavailable (the guardian was lost time and
// again, or could not be started), conflict (the pid is in use), or ctx's error.
func (r *Runtime) Start(ctx context.Context, task sandbox.Task) (sandbox.Process, error) {
	c, err := r.confining(ctx)
	if err != nil {
		return nil, err
	}
	prog, err := c.prepare(task)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	before := r.tried
	r.mu.Unlock()
	for {
		l, err := r.guarded(ctx, before)
		if err != nil {
			return nil, err
		}
		p, err := r.startWith(ctx, l, task, prog)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, errLost) {
			return nil, err // not p: a nil *Process is no nil interface
		}
	}
}

// startWith asks one guardian for a program.
func (r *Runtime) startWith(ctx context.Context, l *link, task sandbox.Task, prog program) (*Process, error) {
	held, confine, err := r.confiner.lend(task.PID, task.Sandbox, prog)
	if err != nil {
		return nil, err
	}
	argv, env, err := packProgram(prog.path, task.Exec, held.environment(task))
	if err != nil {
		held.release()
		return nil, err
	}
	p, err := l.start(ctx, task, message{
		Op: opStart, ID: task.PID, Path: prog.path, Argv: argv, Env: env, Dir: prog.dir, Confine: confine, held: held,
	})
	if err != nil && !held.stuck.Load() {
		held.release() // nothing of it runs
	}
	return p, err
}

// maxGuardians is how many guardians a start may lose: it could be the reason.
const maxGuardians = 3

// guarded returns the link to a guardian, and waits for one to be started. It
// gives up when that failed, or when too many were lost, since as many were started
// as before says.
func (r *Runtime) guarded(ctx context.Context, before int) (*link, error) {
	for {
		r.mu.Lock()
		running, l, tried, failure, changed := r.running, r.link, r.tried, r.failure, r.changed
		r.mu.Unlock()
		switch {
		case !running:
			return nil, errNotRunning()
		case l != nil:
			return l, nil
		case tried > before && failure != nil:
			return nil, fault(errs.NodeUnavailable, failure, "the guardian could not be started, see the node's log")
		case tried >= before+maxGuardians:
			return nil, errs.New(errs.NodeUnavailable, "%d guardians died one after the other: see the node's log, then try again", maxGuardians)
		}
		r.want() // each time: the one that it waited for may be gone already
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// want asks Run for a guardian; one pending request is enough.
func (r *Runtime) want() {
	select {
	case r.wanted <- struct{}{}:
	default:
	}
}

// Guardian tells the guardian's process id; false when there is none, or when it
// is just being started.
func (r *Runtime) Guardian() (pid int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == nil {
		return 0, false
	}
	self, ok := r.link.self()
	return self.PID, ok
}

// Keeper tells the process id of the guardian's keeper; false when there is none.
func (r *Runtime) Keeper() (pid int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == nil {
		return 0, false
	}
	return r.link.keeper.process.Pid, true
}
