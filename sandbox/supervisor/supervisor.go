package supervisor

import (
	"context"
	"time"
)

// Child can be started again and again.
type Child interface {
	// Start starts one instance and returns when it runs, or why it does not.
	// When ctx ends it returns soon; what it then returns is stopped.
	Start(ctx context.Context) (Instance, error)
}

// Instance is one start of a child.
type Instance interface {
	// Done is closed when the instance has ended and nothing of it is left.
	Done() <-chan struct{}
	// Exit tells how it ended: whether normally, and in words. It is called
	// only after Done is closed.
	Exit() (normal bool, why string)
	// Stop asks it to end, kills it after grace, and returns when Done is
	// closed. A grace of zero kills at once.
	Stop(grace time.Duration)
}

// Options are the optional parts of a supervisor.
type Options struct {
	// OnEvent is told what happens, in order. It is called from Serve's
	// goroutine and must not block. Nil tells nobody.
	OnEvent func(Event)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Supervisor runs the decisions of [Core] on real children.
type Supervisor struct {
	spec      Spec
	core      *Core
	emit      func(Event)
	now       func() time.Time
	instances []Instance
	exits     chan Exited
}

// New makes a supervisor; it starts nothing. The error lists every fault of
// the spec.
func New(spec Spec, opts Options) (*Supervisor, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	s := &Supervisor{
		spec: spec, core: NewCore(spec), emit: opts.OnEvent, now: opts.Now,
		instances: make([]Instance, len(spec.Children)),
		exits:     make(chan Exited, len(spec.Children)),
	}
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
	queue := s.step(Begin{})
	asked := ctx.Done()
	for {
		select {
		case <-asked: // also between two restarts that fail at once
			asked = nil
			queue = append(queue, s.step(Shutdown{})...)
		default:
		}
		if len(queue) > 0 {
			out := queue[0]
			queue = queue[1:]
			if end, ok := out.(Ended); ok {
				return end.Err
			}
			queue = append(queue, s.do(ctx, out)...)
			continue
		}
		select {
		case exit := <-s.exits:
			queue = s.exited(exit)
		case <-asked:
			asked = nil
			queue = s.step(Shutdown{})
		}
	}
}

func (s *Supervisor) exited(exit Exited) []Output {
	s.instances[exit.Child] = nil
	s.emit(ChildExited{Child: s.spec.Children[exit.Child].ID, Normal: exit.Normal, Why: exit.Why})
	return s.step(exit)
}

func (s *Supervisor) step(in Input) []Output { return s.core.Step(s.now(), in) }

// do carries out one decision and returns the decisions that follow from it.
func (s *Supervisor) do(ctx context.Context, out Output) []Output {
	switch out := out.(type) {
	case Start:
		return s.start(ctx, out)
	case Stop:
		// It may have ended just now; then its exit is already on its way.
		if in := s.instances[out.Child]; in != nil {
			s.emit(ChildStopping{Child: s.spec.Children[out.Child].ID, Grace: out.Grace})
			in.Stop(out.Grace)
		}
	case Leave:
		s.emit(ChildLeft{Child: s.spec.Children[out.Child].ID})
	case Running:
		s.emit(AllRunning{})
	case GiveUp:
		s.emit(GaveUp(out))
	}
	return nil
}

func (s *Supervisor) start(ctx context.Context, out Start) []Output {
	child := s.spec.Children[out.Child]
	in, err := child.Child.Start(ctx)
	if err != nil && ctx.Err() != nil {
		// It was to be stopped while it started: no failure of the child's.
		return append(s.step(Shutdown{}), s.step(StartFailed{Child: out.Child, Err: err})...)
	}
	if err != nil {
		s.emit(ChildStartFailed{Child: child.ID, Restart: out.Restart, Err: err})
		return s.step(StartFailed{Child: out.Child, Err: err})
	}
	s.instances[out.Child] = in
	// The channel has room for one exit of every child, and a child is started
	// again only after its exit was taken: this goroutine never blocks for long.
	go func() {
		<-in.Done()
		normal, why := in.Exit()
		s.exits <- Exited{Child: out.Child, Normal: normal, Why: why}
	}()
	s.emit(ChildStarted{Child: child.ID, Restart: out.Restart})
	return s.step(Started{Child: out.Child})
}
