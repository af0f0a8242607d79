package supervisor

// Request is what a [Call] asks for: one of the types below, named as the
// methods of [Supervisor] that make them.
type Request interface{ request() }

// The requests.
type (
	// StartChild adds a child behind the others and starts it. One that cannot
	// be started is not added.
	StartChild struct{ Spec ChildSpec }
	// TerminateChild stops a child and keeps its spec, unless it is temporary.
	TerminateChild struct{ Child string }
	// RestartChild starts a child that has ended or was terminated.
	RestartChild struct{ Child string }
	// DeleteChild forgets the spec of such a child.
	DeleteChild struct{ Child string }
	// WhichChildren lists the children.
	WhichChildren struct{}
	// CountChildren counts them.
	CountChildren struct{}
)

func (StartChild) request()     {}
func (TerminateChild) request() {}
func (RestartChild) request()   {}
func (DeleteChild) request()    {}
func (WhichChildren) request()  {}
func (CountChildren) request()  {}

// Reply answers a [Call].
type Reply struct {
	Number   uint64
	Err      error       // nil: it was done
	Child    string      // of StartChild and RestartChild: the one that runs
	Children []ChildInfo // of WhichChildren
	Counts   Counts      // of CountChildren
}

// ChildState is what OTP's which_children shows in a child's pid.
type ChildState string

// The states.
const (
	StateRunning    ChildState = "running"    // OTP: a pid; its end may be on its way
	StateUndefined  ChildState = "undefined"  // it does not run
	StateRestarting ChildState = "restarting" // its restart failed and will be tried again
)

// ChildInfo is one line of WhichChildren.
type ChildInfo struct {
	ID       string
	State    ChildState
	Type     Type
	Restart  Restart
	Instance Instance // the one that runs; nil otherwise, when its end is on its way, and always from [Core]
}

// Supervisor is the supervisor that a [Nested] child runs as; nil for others.
func (c ChildInfo) Supervisor() *Supervisor {
	if nested, ok := c.Instance.(nestedInstance); ok {
		return nested.sup
	}
	return nil
}

// Counts is the answer of CountChildren.
type Counts struct {
	Specs       int // children, running or not
	Active      int // those that run
	Supervisors int // children that are supervisors, running or not
	Workers     int // children that are workers, running or not
}
