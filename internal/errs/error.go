package errs

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Error is an error with a kind. The zero value is not useful; see [New].
type Error struct {
	Kind    Kind
	Message string  // one sentence, lower case, saying what was wrong and what to do next
	Param   string  // the parameter at fault, if one is
	Node    string  // the node that said so, if it was another one
	Remote  bool    // it came over a connection: the peer said so
	Why     string  // what is known about the cause
	Faults  []Fault // every fault of a spec
	// Unsure makes an error of a definite kind indefinite: the connection was
	// lost after the request was sent, say.
	Unsure bool
	// Sure makes an error of an indefinite kind definite: what ran out of time was
	// not begun, say.
	Sure  bool
	cause error
}

// Fault is one fault of a document: where, as a JSON pointer (RFC 6901), and what.
type Fault struct {
	Pointer string `json:"pointer"`
	Message string `json:"message"`
}

// New makes an error of a kind with a formatted message.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an error of a kind whose cause is err; the message is put before
// the cause's.
func Wrap(kind Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...) + ": " + err.Error(), cause: err}
}

// BadParam says that one parameter is at fault.
func BadParam(param, format string, args ...any) *Error {
	e := New(BadParameter, "parameter %q: %s", param, fmt.Sprintf(format, args...))
	e.Param = param
	return e
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, errs.New(kind, "")) true for every error of the kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Message == ""
}

// Definite reports whether what was asked for certainly did not happen.
func (e *Error) Definite() bool { return (e.Kind.Property().Definite || e.Sure) && !e.Unsure }

// WithWhy returns a copy that tells the cause.
func (e *Error) WithWhy(format string, args ...any) *Error {
	c := *e
	c.Why = fmt.Sprintf(format, args...)
	return &c
}

// WithNode returns a copy that tells which node said so.
func (e *Error) WithNode(node string) *Error {
	c := *e
	c.Node = node
	return &c
}

// WithFaults returns a copy that lists the faults of a document.
func (e *Error) WithFaults(faults []Fault) *Error {
	c := *e
	c.Faults = slices.Clone(faults)
	return &c
}

// From turns any error into an *Error: itself if it is one, Timeout and
// Cancelled for the context's errors, Internal for the rest; nil stays nil.
func From(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(Timeout, err, "no answer in time")
	case errors.Is(err, context.Canceled):
		return Wrap(Cancelled, err, "the caller gave up")
	default:
		return Wrap(Internal, err, "internal error")
	}
}

// KindOf returns the kind of any error; "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	return From(err).Kind
}
