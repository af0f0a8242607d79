package supervisor

import "time"

// Event is what a supervisor tells its hook: one of the types below.
type Event interface{ event() }

// ChildStarted says that a child runs.
type ChildStarted struct {
	Child   string
	Restart bool // it is not the first start of this child
}

// ChildStartFailed says that a child could not be started.
type ChildStartFailed struct {
	Child   string
	Restart bool
	Err     error
}

// ChildExited says that a child has ended.
type ChildExited struct {
	Child  string
	Normal bool
	Why    string
}

// ChildLeft says that a child has ended and will not be restarted.
type ChildLeft struct{ Child string }

// ChildStopping says that a child is asked to end.
type ChildStopping struct {
	Child string
	Grace time.Duration // until it is killed
}

// AllRunning says that the first start is complete.
type AllRunning struct{}

// GaveUp says why the supervisor stops its children by itself.
type GaveUp struct{ Err error }

func (ChildStarted) event()     {}
func (ChildStartFailed) event() {}
func (ChildExited) event()      {}
func (ChildLeft) event()        {}
func (ChildStopping) event()    {}
func (AllRunning) event()       {}
func (GaveUp) event()           {}
