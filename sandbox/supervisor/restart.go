package supervisor

import (
	"slices"
	"time"
)

// childExited handles the end of a child that was to run.
func (c *Core) childExited(s *slot, exit Exited) {
	s.exited = false
	s.reason, s.why = exit.Reason, exit.Why
	s.state = StateUndefined
	if s.spec.Restart.restarts(exit.Reason) {
		c.restart(s, false)
		return
	}
	c.forgetTemporary(s)
	c.tell(Leave{Child: s.spec.ID})
}

// restart counts a restart and does it, or gives up when it is one too many.
func (c *Core) restart(s *slot, again bool) {
	limit := c.spec.Intensity
	c.restarts = append(c.restarts, c.now)
	// Exactly as OTP: a restart that lies a whole period back still counts.
	c.restarts = slices.DeleteFunc(c.restarts, func(t time.Time) bool { return c.now.Sub(t) > limit.Period })
	if len(c.restarts) > limit.MaxRestarts {
		s.state = StateUndefined
		c.giveUp(&IntensityError{Child: s.spec.ID, Restarts: len(c.restarts), Limit: limit, Last: s.why})
		return
	}
	c.history = c.history.with(RestartRecord{At: c.now, Child: s.spec.ID, Reason: s.reason, Why: s.why, Retry: again})
	group := c.group(s)
	c.job = &job{
		stops:  group,
		starts: slices.DeleteFunc(slices.Clone(group), func(s *slot) bool { return s.spec.Restart == Temporary }),
		done:   func() {},
		failed: c.tryAgain,
	}
}

// group returns the children that are restarted with one, itself included.
func (c *Core) group(s *slot) []*slot {
	switch c.spec.Strategy {
	case OneForAll:
		return slices.Clone(c.children)
	case RestForOne:
		return slices.Clone(c.children[slices.Index(c.children, s):])
	default:
		return []*slot{s}
	}
}

// tryAgain makes the supervisor send itself a message: a restart that failed
// is tried again when all that came before was handled. The children that were
// to be started after it stay undefined until then.
func (c *Core) tryAgain(s *slot, _ error) {
	s.state = StateRestarting
	if c.phase == running {
		c.mailbox = append(c.mailbox, retry{child: s.spec.ID})
	}
}
