package supervisor

import (
	"slices"
	"time"
)

// Core decides what a supervisor does. It is a state machine: [Core.Step]
// takes what happened and returns what to do, in order. It never waits and
// never looks at a clock, so the same inputs always give the same outputs.
//
// Only one command is ever under way: the answer to a [Start] or [Stop] must
// be given before the next one is issued, as in OTP, whose supervisor is one
// process doing one thing at a time. Exits and calls that come meanwhile wait
// in its mailbox and are handled in the order they came.
type Core struct {
	spec     Spec
	children []*slot // in the order of their start
	phase    phase
	mailbox  []Input     // exits, calls and retries that wait, oldest first
	job      *job        // what is being done; nil between two messages
	starting *slot       // the child whose start is under way
	halting  *slot       // the child whose stop is under way
	restarts []time.Time // within the window, oldest first
	history  History
	failure  error // why it stops: nil when it was asked to

	now time.Time // of the step under way
	out []Output  // of the step under way
}

// slot is what the core knows of one child.
type slot struct {
	spec   ChildSpec
	state  ChildState
	exited bool   // its end waits in the mailbox; the state still says that it runs
	tried  bool   // it was started, or tried, before
	reason Reason // how it last ended
	why    string // the same, or why it could not be started
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
	c := &Core{spec: spec}
	for _, child := range spec.Children {
		c.children = append(c.children, newSlot(child))
	}
	return c
}

func newSlot(spec ChildSpec) *slot { return &slot{spec: spec, state: StateUndefined} }

// Step takes one input at a time and returns what to do. Times must not go
// backwards. An input that does not fit the state (an exit of a child that is
// not up, say) is ignored.
func (c *Core) Step(now time.Time, in Input) []Output {
	c.now, c.out = now, nil
	c.take(in)
	for c.advance() {
	}
	return c.out
}

// History returns the newest restarts.
func (c *Core) History() History { return c.history }

func (c *Core) take(in Input) {
	switch in := in.(type) {
	case Begin:
		if c.phase == idle {
			c.phase = starting
			c.job = c.firstStart()
		}
	case Started:
		c.started(in)
	case StartFailed:
		c.startFailed(in)
	case Exited:
		c.exited(in)
	case Call:
		c.mailbox = append(c.mailbox, in)
	case Withdraw:
		c.drop(func(m Input) bool { call, ok := m.(Call); return ok && call.Number == in.Number })
	case Shutdown:
		if c.phase != ended {
			c.stop()
		}
	}
}

// advance does what comes next; false when there is nothing to do until
// something happens.
func (c *Core) advance() bool {
	switch {
	case c.starting != nil || c.halting != nil:
		return false // the answer to the command under way is to come
	case c.job != nil:
		c.proceed()
	case c.phase == stopping:
		c.job = c.stopAll()
	case c.phase == running && len(c.mailbox) > 0:
		message := c.mailbox[0]
		c.mailbox = c.mailbox[1:]
		c.handle(message)
	default:
		return false
	}
	return true
}

// handle takes one message from the mailbox.
func (c *Core) handle(message Input) {
	switch m := message.(type) {
	case Exited:
		c.childExited(c.child(m.Child), m)
	case retry:
		// It may have been terminated, deleted or started meanwhile.
		if s := c.child(m.child); s != nil && s.state == StateRestarting {
			c.restart(s, true)
		}
	case Call:
		c.call(m)
	}
}

func (c *Core) started(in Started) {
	if s := c.starting; s != nil && s.spec.ID == in.Child {
		s.state, c.starting = StateRunning, nil
	}
}

func (c *Core) startFailed(in StartFailed) {
	if s := c.starting; s != nil && s.spec.ID == in.Child {
		s.reason, s.why = ReasonAbnormal, in.Err.Error()
		j := c.job
		c.starting, c.job = nil, nil
		j.failed(s, in.Err)
	}
}

func (c *Core) exited(in Exited) {
	s := c.child(in.Child)
	switch {
	case s == nil || s.state != StateRunning || s.exited:
	case s == c.halting:
		c.halting = nil
		c.terminated(s)
	default:
		s.exited = true
		c.mailbox = append(c.mailbox, in)
	}
}

// terminated records that a child has ended because its supervisor wanted it.
func (c *Core) terminated(s *slot) {
	s.state, s.exited = StateUndefined, false
	c.forgetTemporary(s)
}

// stop turns to stopping: no more messages are handled, and of the job under
// way only the command under way is awaited.
func (c *Core) stop() {
	c.phase, c.mailbox = stopping, nil
	if c.job != nil && (c.starting != nil || c.halting != nil) && !c.job.last {
		c.job.stops, c.job.starts = nil, nil
	}
}

// giveUp makes the supervisor stop by itself.
func (c *Core) giveUp(why error) {
	c.failure = why
	c.tell(GiveUp{Err: why})
	c.stop()
}

func (c *Core) tell(out Output) { c.out = append(c.out, out) }

// drop removes messages from the mailbox.
func (c *Core) drop(which func(Input) bool) { c.mailbox = slices.DeleteFunc(c.mailbox, which) }

// child finds a child by its id; nil if there is none.
func (c *Core) child(id string) *slot {
	for _, s := range c.children {
		if s.spec.ID == id {
			return s
		}
	}
	return nil
}

// forgetTemporary forgets a child that ended, if it is temporary.
func (c *Core) forgetTemporary(s *slot) {
	if s.spec.Restart == Temporary {
		c.forget(s)
	}
}

func (c *Core) forget(s *slot) {
	c.children = slices.DeleteFunc(c.children, func(other *slot) bool { return other == s })
}
