package supervisor

import "time"

// Event is what a supervisor tells its hook: one of the types below. Each says
// whose it is: Supervisor is the [Options] Name of the one that tells it.
type Event interface{ event() }

// ChildStarted says that a child runs.
type ChildStarted struct {
	Supervisor string
	Child      string
	Restart    bool // it is not the first start of this child
}

// ChildStartFailed says that a child could not be started.
type ChildStartFailed struct {
	Supervisor string
	Child      string
	Restart    bool
	Err        error
}

// ChildExited says that a child has ended.
type ChildExited struct {
	Supervisor string
	Child      string
	Reason     Reason
	Why        string
}

// ChildLeft says that a child has ended and will not be restarted.
type ChildLeft struct{ Supervisor, Child string }

// ChildStopping says that a child is asked to end.
type ChildStopping struct {
	Supervisor string
	Child      string
	Grace      time.Duration // until it is killed; a [Nested] is not
}

// AllRunning says that the first start is complete.
type AllRunning struct{ Supervisor string }

// GaveUp says why the supervisor stops its children by itself.
type GaveUp struct {
	Supervisor string
	Err        error // a *[StartError] or an *[IntensityError]
}

func (ChildStarted) event()     {}
func (ChildStartFailed) event() {}
func (ChildExited) event()      {}
func (ChildLeft) event()        {}
func (ChildStopping) event()    {}
func (AllRunning) event()       {}
func (GaveUp) event()           {}
