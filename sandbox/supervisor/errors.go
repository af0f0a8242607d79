package supervisor

import (
	"errors"
	"fmt"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Why a request about a child is refused, in OTP's words; compare with
// errors.Is. A refused request has changed nothing.
var (
	ErrAlreadyStarted = errors.New("already started")                                            // StartChild: a child of this id runs
	ErrAlreadyPresent = errors.New("already present: restart it, or delete it first")            // StartChild: there is one that does not run
	ErrNotFound       = errors.New("not found: see which there are with WhichChildren")          // no child of this id
	ErrRunning        = errors.New("running: terminate it first")                                // RestartChild, DeleteChild
	ErrRestarting     = errors.New("restarting: its restart has failed and will be tried again") // RestartChild, DeleteChild
	ErrEnded          = errs.New(errs.NotFound, "the supervisor has ended: it was not done")     // OTP: noproc
)

// kinds gives each refusal its kind.
var kinds = map[error]errs.Kind{
	ErrAlreadyStarted: errs.AlreadyExists,
	ErrAlreadyPresent: errs.AlreadyExists,
	ErrNotFound:       errs.NotFound,
	ErrRunning:        errs.Conflict,
	ErrRestarting:     errs.Conflict,
}

// refused is the error of a request about a child.
func refused(child string, why error) error {
	return errs.Wrap(kinds[why], why, "child %q", child)
}

// StartError says that a child could not be started: at the first start of its
// supervisor, by StartChild or by RestartChild.
type StartError struct {
	Child string
	Err   error
}

// Error says which child and why.
func (e *StartError) Error() string {
	return fmt.Sprintf("child %q could not be started: %v", e.Child, e.Err)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// IntensityError says that there were more restarts than the intensity
// tolerates.
type IntensityError struct {
	Child    string // the child whose end was one too many
	Restarts int    // within the period, the refused one included
	Limit    Intensity
	Last     string // how the child ended, or why it could not be started
}

// Error tells the count, the limit and the last end.
func (e *IntensityError) Error() string {
	return fmt.Sprintf("%d restarts within %s are more than the %d allowed; the last was of child %q: %s",
		e.Restarts, e.Limit.Period, e.Limit.MaxRestarts, e.Child, e.Last)
}

// badSpec is the error of a StartChild whose spec has a fault.
func badSpec(child string, err error) error { return errs.Wrap(errs.BadSpec, err, "child %q", child) }
