package supervisor

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Strategy says which children are restarted when one of them is.
type Strategy string

// The strategies. OneForAll and RestForOne also start the children that had
// ended for good or were terminated on request, as OTP does; those that are
// [Temporary] they terminate and forget.
const (
	OneForOne  Strategy = "one_for_one"  // that child alone
	OneForAll  Strategy = "one_for_all"  // all children
	RestForOne Strategy = "rest_for_one" // that child and those started after it
)

// Restart says after which ends a child is restarted.
type Restart string

// The kinds of restart.
const (
	Permanent Restart = "permanent" // always
	Transient Restart = "transient" // only when it ended abnormally
	Temporary Restart = "temporary" // never; it is forgotten when it ends
)

// Type says what a child is; it is counted and shown, and decides nothing.
type Type string

// The types of child. "" is a worker.
const (
	TypeWorker     Type = "worker"
	TypeSupervisor Type = "supervisor" // its Child is a [Nested]
)

// Intensity is how many restarts are tolerated in which time. One restart
// more makes the supervisor give up. Too small a MaxRestarts gives up on a
// hiccup; too small a Period never gives up on a child that fails at leisure.
type Intensity struct {
	MaxRestarts int           // restarts tolerated; 0 tolerates none
	Period      time.Duration // OTP's MaxSeconds: the sliding window they are counted in; positive
}

// Infinity as a child's Shutdown waits for as long as it takes.
const Infinity = time.Duration(math.MaxInt64)

// ChildSpec describes one child.
type ChildSpec struct {
	ID       string        // unique among the children
	Type     Type          // worker or supervisor
	Restart  Restart       // when to restart it
	Shutdown time.Duration // how long it may take to end when asked to; 0 kills it at once; a [Nested] takes as long as it needs
	Child    Child         // what to run; only [Supervisor] needs it, not [Core]
}

// Spec describes a supervisor.
type Spec struct {
	Strategy  Strategy
	Intensity Intensity
	Children  []ChildSpec // in the order of their start
}

// Validate says what is wrong with the spec, all of it.
func (s Spec) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Strategy != OneForOne && s.Strategy != OneForAll && s.Strategy != RestForOne {
		fault("strategy %q is not known: use %q, %q or %q", s.Strategy, OneForOne, OneForAll, RestForOne)
	}
	if s.Intensity.MaxRestarts < 0 {
		fault("max_restarts is %d: it must not be negative", s.Intensity.MaxRestarts)
	}
	if s.Intensity.Period <= 0 {
		fault("max_seconds is %s: it must be positive", s.Intensity.Period)
	}
	seen := make(map[string]bool)
	for i, c := range s.Children {
		if seen[c.ID] {
			fault("child %d: id %q is used twice", i, c.ID)
		}
		seen[c.ID] = true
		if err := c.Validate(); err != nil {
			fault("child %q: %w", c.ID, err)
		}
	}
	return errors.Join(errs...)
}

// Validate says what is wrong with the spec of one child, the first of it.
func (c ChildSpec) Validate() error {
	switch {
	case c.ID == "":
		return errors.New("the id is empty")
	case c.Type != "" && c.Type != TypeWorker && c.Type != TypeSupervisor:
		return fmt.Errorf("type %q is not known: use worker or supervisor", c.Type)
	case c.Restart != Permanent && c.Restart != Transient && c.Restart != Temporary:
		return fmt.Errorf("restart %q is not known: use permanent, transient or temporary", c.Restart)
	case c.Shutdown < 0:
		return fmt.Errorf("shutdown %s is negative", c.Shutdown)
	}
	return nil
}

// kind is the type, filled in.
func (c ChildSpec) kind() Type {
	if c.Type == "" {
		return TypeWorker
	}
	return c.Type
}
