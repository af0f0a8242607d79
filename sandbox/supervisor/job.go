package supervisor

import "slices"

// job is what handling one message takes: children to stop, then children to
// start, one after the other.
type job struct {
	stops  []*slot // from the last to the first; those that do not run are passed over
	starts []*slot // from the first to the last
	last   bool    // it is the supervisor's end, which nothing cuts short
	done   func()
	failed func(s *slot, err error) // a start failed; the rest of the job is off
}

// proceed does the next step of the job.
func (c *Core) proceed() {
	j := c.job
	if n := len(j.stops); n > 0 {
		s := j.stops[n-1]
		j.stops = j.stops[:n-1]
		c.terminate(s)
		return
	}
	if len(j.starts) > 0 {
		s := j.starts[0]
		j.starts = j.starts[1:]
		c.tell(Start{Child: s.spec.ID, Restart: s.tried})
		c.starting, s.tried = s, true
		return
	}
	c.job = nil
	j.done()
}

// terminate stops a child if it runs. The news of an end that waits in the
// mailbox is taken out of it: it is known now.
func (c *Core) terminate(s *slot) {
	switch {
	case s.state == StateRunning && !s.exited:
		c.halting = s
		c.tell(Stop{Child: s.spec.ID, Grace: s.spec.Shutdown})
	default:
		c.drop(func(m Input) bool { exit, ok := m.(Exited); return ok && exit.Child == s.spec.ID })
		c.terminated(s)
	}
}

// firstStart starts all children; when one fails the supervisor does.
func (c *Core) firstStart() *job {
	return &job{
		starts: slices.Clone(c.children),
		done: func() {
			if c.phase == starting {
				c.phase = running
				c.tell(Running{})
			}
		},
		failed: func(s *slot, err error) {
			if c.phase == starting {
				c.giveUp(&StartError{Child: s.spec.ID, Err: err})
			}
		},
	}
}

// stopAll stops all children: the last job.
func (c *Core) stopAll() *job {
	return &job{
		stops: slices.Clone(c.children),
		last:  true,
		done: func() {
			c.phase = ended
			c.tell(Ended{Err: c.failure})
		},
	}
}
