package supervisor

import (
	"context"
	"sync"
	"time"
)

// Nested is a supervisor that is the child of another one: the Child of a
// [ChildSpec] of [TypeSupervisor]. Every start of it is a new [Supervisor] with
// the children of its spec: those added later are gone, as in OTP, and its
// intensity is counted anew. Its history goes on.
type Nested struct {
	spec Spec
	opts Options

	mu      sync.Mutex
	current *Supervisor
}

// NewNested makes one; it starts nothing. The error lists every fault of the
// spec.
func NewNested(spec Spec, opts Options) (*Nested, error) {
	first, err := New(spec, opts)
	if err != nil {
		return nil, err
	}
	return &Nested{spec: spec, opts: opts, current: first}, nil
}

// Supervisor returns the newest start of it, which answers [ErrEnded] if it has
// ended. Before the first start requests to it wait for that.
func (n *Nested) Supervisor() *Supervisor {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

// Start implements [Child]: it returns when all children run, or, with nothing
// left, why they do not.
func (n *Nested) Start(ctx context.Context) (Instance, error) {
	s := n.next()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // its supervisor ends it by Stop, in order
	go func() { _ = s.Serve(serving) }()                            // its error is asked for with failure
	in := nestedInstance{sup: s, stop: stop}
	select {
	case <-s.running:
		return in, nil
	case <-s.ended:
		stop()
		return nil, s.failure()
	case <-ctx.Done():
		in.Stop(0)
		return nil, ctx.Err()
	}
}

// next makes the supervisor of the next start.
func (n *Nested) next() *Supervisor {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.current.begin() {
		return n.current
	}
	opts := n.opts
	opts.History = n.current.History()
	s, err := New(n.spec, opts)
	if err != nil {
		panic(err) // NewNested has validated it
	}
	s.begin()
	n.current = s
	return s
}

// nestedInstance is one start of a nested supervisor.
type nestedInstance struct {
	sup  *Supervisor
	stop context.CancelFunc
}

// Done implements [Instance].
func (i nestedInstance) Done() <-chan struct{} { return i.sup.ended }

// Exit implements [Instance]. A supervisor that gives up ends with shutdown, so
// that a transient one is not restarted then.
func (i nestedInstance) Exit() (Reason, string) {
	if err := i.sup.failure(); err != nil {
		return ReasonShutdown, err.Error()
	}
	return ReasonShutdown, "stopped by its supervisor"
}

// Stop implements [Instance]. It waits until nothing is left, for as long as
// the children's shutdown times allow: killing a supervisor would leave them.
func (i nestedInstance) Stop(time.Duration) {
	i.stop()
	<-i.sup.ended
}
