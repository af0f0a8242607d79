package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// Core decides what a supervisor does. It is a state machine: [Core.Step]
// takes what happened and returns what to do, in order. It never waits and
// never looks at a clock, so the same inputs always give the same outputs.
//
// Only one command is ever under way: the answer to a [Start] or [Stop] must
// be given before the next one is issued, as in OTP, whose supervisor is one
// process doing one thing at a time. Exits that are reported meanwhile are
// remembered and handled in order.
type Core struct {
	spec     Spec
	children []slot
	phase    phase
	restarts []time.Time // within the window, oldest first
	busy     int         // the child being started, or -1
	halting  int         // the child being stopped, or -1
	exits    []Exited    // reported while busy or starting
	failure  error       // why it stops: nil when it was asked to
}

// slot is what the core knows of one child.
type slot struct {
	up      bool // an instance lives
	started int  // how often it was started or tried
}

// phase is where a supervisor is in its life.
type phase int

const (
	idle     phase = iota
	starting       // first start, in order
	running
	stopping // in reverse order
	ended
)

// NewCore makes a core. The spec must be valid.
func NewCore(spec Spec) *Core {
	return &Core{spec: spec, children: make([]slot, len(spec.Children)), busy: -1, halting: -1}
}

// Step takes one input at a time and returns what to do. Times must not go
// backwards. An input that does not fit the state (an exit of a child that is
// not up, say) is ignored.
func (c *Core) Step(now time.Time, in Input) []Output {
	switch in := in.(type) {
	case Begin:
		return c.begin()
	case Started:
		return c.started(now, in)
	case StartFailed:
		return c.startFailed(now, in)
	case Exited:
		return c.exited(now, in)
	case Shutdown:
		return c.shutdown()
	}
	return nil
}

func (c *Core) begin() []Output {
	if c.phase != idle {
		return nil
	}
	c.phase = starting
	return c.startNext(0)
}

// startNext goes on with the first start, at child i.
func (c *Core) startNext(i int) []Output {
	if i < len(c.children) {
		return c.start(i)
	}
	c.phase = running
	return []Output{Running{}}
}

// start issues the one command under way.
func (c *Core) start(i int) []Output {
	c.busy = i
	restart := c.children[i].started > 0
	c.children[i].started++
	return []Output{Start{Child: i, Restart: restart}}
}

func (c *Core) started(now time.Time, in Started) []Output {
	if c.busy != in.Child {
		return nil
	}
	c.busy = -1
	c.children[in.Child].up = true
	switch c.phase {
	case starting:
		return append(c.startNext(in.Child+1), c.backlog(now)...)
	case running:
		return c.backlog(now)
	default:
		return c.stopNext()
	}
}

func (c *Core) startFailed(now time.Time, in StartFailed) []Output {
	if c.busy != in.Child {
		return nil
	}
	c.busy = -1
	switch c.phase {
	case starting:
		return c.stop(&StartError{Child: c.spec.Children[in.Child].ID, Err: in.Err})
	case running:
		return append(c.restart(now, in.Child, in.Err.Error()), c.backlog(now)...)
	default:
		return c.stopNext()
	}
}

func (c *Core) exited(now time.Time, in Exited) []Output {
	if in.Child < 0 || in.Child >= len(c.children) || !c.children[in.Child].up {
		return nil
	}
	c.children[in.Child].up = false
	if c.phase == stopping {
		if c.busy >= 0 || c.halting != in.Child {
			return nil // the answer to the command under way is still to come
		}
		return c.stopNext()
	}
	c.exits = append(c.exits, in)
	return c.backlog(now)
}

// backlog handles the exits that are waiting, as long as nothing is under way.
func (c *Core) backlog(now time.Time) []Output {
	var out []Output
	for c.phase == running && c.busy < 0 && len(c.exits) > 0 {
		in := c.exits[0]
		c.exits = c.exits[1:]
		if c.restarted(in) {
			out = append(out, c.restart(now, in.Child, in.Why)...)
		} else {
			out = append(out, Leave{Child: in.Child})
		}
	}
	return out
}

// restarted reports whether a child that ended so is to be restarted.
func (c *Core) restarted(in Exited) bool {
	switch c.spec.Children[in.Child].Restart {
	case Permanent:
		return true
	case Transient:
		return !in.Normal
	default:
		return false
	}
}

// restart counts a restart and does it, or gives up when it is one too many.
func (c *Core) restart(now time.Time, i int, why string) []Output {
	limit := c.spec.Intensity
	c.restarts = append(c.restarts, now)
	// Exactly as OTP: a restart that lies a whole period back still counts.
	c.restarts = slices.DeleteFunc(c.restarts, func(t time.Time) bool { return now.Sub(t) > limit.Period })
	if len(c.restarts) <= limit.MaxRestarts {
		return c.start(i)
	}
	return c.stop(&IntensityError{
		Child: c.spec.Children[i].ID, Restarts: len(c.restarts), Limit: limit, Last: why,
	})
}

func (c *Core) shutdown() []Output {
	if c.phase == stopping || c.phase == ended {
		return nil
	}
	return c.stop(nil)
}

// stop begins to stop all children. A start under way is awaited first.
func (c *Core) stop(why error) []Output {
	c.phase = stopping
	c.failure = why
	c.exits = nil
	var out []Output
	if why != nil {
		out = append(out, GiveUp{Err: why})
	}
	if c.busy >= 0 {
		return out
	}
	return append(out, c.stopNext()...)
}

// stopNext stops the last child that is up, or ends.
func (c *Core) stopNext() []Output {
	for i := len(c.children) - 1; i >= 0; i-- {
		if c.children[i].up {
			c.halting = i
			return []Output{Stop{Child: i, Grace: c.spec.Children[i].Shutdown}}
		}
	}
	c.phase = ended
	return []Output{Ended{Err: c.failure}}
}

// StartError says that a child could not be started at first.
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
