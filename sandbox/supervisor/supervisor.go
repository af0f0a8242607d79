package supervisor

import (
	"context"
	"sync"
	"time"
)

// Child can be started again and again.
type Child interface {
	// Start starts one instance and returns when it runs, or why it does not.
	// When ctx ends it returns soon; what it then returns is stopped. The
	// instance outlives ctx until it is stopped.
	Start(ctx context.Context) (Instance, error)
}

// Instance is one start of a child.
type Instance interface {
	// Done is closed when the instance has ended and nothing of it is left.
	Done() <-chan struct{}
	// Exit tells how it ended: the class of its reason, and in words. It is
	// called only after Done is closed.
	Exit() (reason Reason, why string)
	// Stop asks it to end, kills it after grace, and returns when Done is
	// closed. A grace of zero kills at once.
	Stop(grace time.Duration)
}

// Options are the optional parts of a supervisor.
type Options struct {
	// Name tells this supervisor from others in its events.
	Name string
	// OnEvent is told what happens, in order. It is called from the
	// supervisor's goroutine and must neither block nor call the supervisor;
	// one hook of several supervisors is called from each one's. Nil tells
	// nobody.
	OnEvent func(Event)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// History is that of a supervisor whose place this one takes: it goes on. The
	// intensity is counted anew.
	History History
}

// Supervisor runs the decisions of [Core] on real children. All but Serve may
// be called from any goroutine.
type Supervisor struct {
	name  string
	emit  func(Event)
	now   func() time.Time
	inbox *inbox
	// running is closed when the first start is complete, ended when nothing
	// is left.
	running, ended chan struct{}

	// Of Serve's goroutine alone.
	queue     []Output // decided, not done yet
	instances map[string]Instance

	mu    sync.Mutex // guards what follows; never held across a wait
	core  *Core
	calls map[uint64]chan Answer
	last  uint64 // number of the newest call
	begun bool   // a [Nested] has handed it out to be served
	err   error  // why it ended
}

// New makes a supervisor; it starts nothing. The error lists every fault of
// the spec.
func New(spec Spec, opts Options) (*Supervisor, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	s := &Supervisor{
		name: opts.Name, emit: opts.OnEvent, now: opts.Now, core: NewCore(spec), inbox: newInbox(),
		running: make(chan struct{}), ended: make(chan struct{}),
		instances: make(map[string]Instance), calls: make(map[uint64]chan Answer),
	}
	s.core.history = opts.History
	if s.emit == nil {
		s.emit = func(Event) {}
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// Serve starts the children and keeps them running until ctx ends, which
// returns nil, or the supervisor gives up, which returns a *[StartError] or an
// *[IntensityError]. No child runs when it returns. It can be called once.
func (s *Supervisor) Serve(ctx context.Context) error {
	s.step(Begin{})
	asked := ctx.Done()
	for {
		select {
		case <-asked: // also between two restarts that fail at once
			asked = nil
			s.step(Shutdown{})
		default:
		}
		if len(s.queue) > 0 {
			out := s.queue[0]
			s.queue = s.queue[1:]
			if end, ok := out.(Ended); ok {
				s.end(end.Err)
				return end.Err
			}
			s.do(ctx, out)
			continue
		}
		select {
		case <-s.inbox.wake:
			s.drain()
		case <-asked:
			asked = nil
			s.step(Shutdown{})
		}
	}
}

// History returns the newest restarts, also when the supervisor has ended.
func (s *Supervisor) History() History {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.History()
}

// step tells the core one thing and queues what it decides.
func (s *Supervisor) step(in Input) {
	now := s.now()
	s.mu.Lock()
	out := s.core.Step(now, in)
	s.mu.Unlock()
	s.queue = append(s.queue, out...)
}

// drain tells the core all that came to the inbox. The answer to a command is
// told after it: what came before the answer is handled before what follows
// from it, as in a process with one mailbox.
func (s *Supervisor) drain() {
	for _, in := range s.inbox.take() {
		if exit, ok := in.(Exited); ok {
			delete(s.instances, exit.Child)
			s.emit(ChildExited{Supervisor: s.name, Child: exit.Child, Reason: exit.Reason, Why: exit.Why})
		}
		s.step(in)
	}
}

// do carries out one decision.
func (s *Supervisor) do(ctx context.Context, out Output) {
	switch out := out.(type) {
	case Start:
		s.start(ctx, out)
	case Stop:
		// It may have ended just now; then its exit is already on its way.
		if in := s.instances[out.Child]; in != nil {
			s.emit(ChildStopping{Supervisor: s.name, Child: out.Child, Grace: out.Grace})
			in.Stop(out.Grace)
		}
	case Leave:
		s.emit(ChildLeft{Supervisor: s.name, Child: out.Child})
	case Reply:
		s.reply(out)
	case Running:
		s.emit(AllRunning{Supervisor: s.name})
		close(s.running) // after it, so that a parent's ChildStarted comes later
	case GiveUp:
		s.emit(GaveUp{Supervisor: s.name, Err: out.Err})
	}
}

func (s *Supervisor) start(ctx context.Context, out Start) {
	in, err := s.childOf(out).Start(ctx)
	s.drain()
	if err != nil {
		if ctx.Err() != nil {
			s.step(Shutdown{}) // it was to be stopped while it started: no failure of the child's
		} else {
			s.emit(ChildStartFailed{Supervisor: s.name, Child: out.Child, Restart: out.Restart, Err: err})
		}
		s.step(StartFailed{Child: out.Child, Err: err})
		return
	}
	s.instances[out.Child] = in
	go func() { // ends with the instance, which Serve awaits
		<-in.Done()
		reason, why := in.Exit()
		s.inbox.put(Exited{Child: out.Child, Reason: reason, Why: why})
	}()
	s.emit(ChildStarted{Supervisor: s.name, Child: out.Child, Restart: out.Restart})
	s.step(Started{Child: out.Child})
}

// childOf finds what to start.
func (s *Supervisor) childOf(out Start) Child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.child(out.Child).spec.Child
}

// end tells those who wait that the supervisor is no more.
func (s *Supervisor) end(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	close(s.ended)
}

// begin marks it as served; false if it was already.
func (s *Supervisor) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := !s.begun
	s.begun = true
	return fresh
}

// failure is why it ended; nil while it runs and when it was asked to.
func (s *Supervisor) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
