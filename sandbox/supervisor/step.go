package supervisor

import "time"

// Input is what happened: [Begin], [Started], [StartFailed], [Exited], [Call],
// [Withdraw] or [Shutdown].
type Input interface{ input() }

// Begin asks for the first start. It is the first input, once.
type Begin struct{}

// Started answers a [Start]: the child runs.
type Started struct{ Child string }

// StartFailed answers a [Start]: the child does not run.
type StartFailed struct {
	Child string
	Err   error // why, never nil
}

// Exited says that a child has ended, by itself or because it was stopped.
type Exited struct {
	Child  string
	Reason Reason
	Why    string // how it ended, for people
}

// Shutdown asks for everything to be stopped. It overtakes what waits.
type Shutdown struct{}

// Call asks for something; a [Reply] of the same number answers it, unless the
// supervisor ends first.
type Call struct {
	Number  uint64 // unique
	Request Request
}

// Withdraw takes back a [Call] that was not begun; one that was is carried out.
type Withdraw struct{ Number uint64 }

// retry is the message a supervisor sends itself when a restart has failed:
// what came before it is handled first.
type retry struct{ child string }

func (Begin) input()       {}
func (Started) input()     {}
func (StartFailed) input() {}
func (Exited) input()      {}
func (Shutdown) input()    {}
func (Call) input()        {}
func (Withdraw) input()    {}
func (retry) input()       {}

// Output is what to do: [Start], [Stop], [Leave], [Reply], [Running], [GiveUp]
// or [Ended].
type Output interface{ output() }

// Start a child and answer with [Started] or [StartFailed].
type Start struct {
	Child   string
	Restart bool // it was started, or tried, before
}

// Stop a child: ask it to end, kill it after Grace, answer with [Exited].
type Stop struct {
	Child string
	Grace time.Duration
}

// Leave says that a child has ended and stays so.
type Leave struct{ Child string }

// Running says that the first start is complete.
type Running struct{}

// GiveUp says why the supervisor stops its children by itself: a
// *[StartError] or an *[IntensityError].
type GiveUp struct{ Err error }

// Ended says that no child is left; Err is that of [GiveUp], nil after a
// [Shutdown]. It is the last output.
type Ended struct{ Err error }

func (Start) output()   {}
func (Stop) output()    {}
func (Leave) output()   {}
func (Reply) output()   {}
func (Running) output() {}
func (GiveUp) output()  {}
func (Ended) output()   {}
