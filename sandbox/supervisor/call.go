package supervisor

// call carries out a request, or refuses it.
func (c *Core) call(call Call) {
	reply := Reply{Number: call.Number}
	switch r := call.Request.(type) {
	case StartChild:
		c.startChild(reply, r.Spec)
	case TerminateChild:
		c.terminateChild(reply, r.Child)
	case RestartChild:
		c.restartChild(reply, r.Child)
	case DeleteChild:
		c.deleteChild(reply, r.Child)
	case WhichChildren:
		reply.Children = c.which()
		c.tell(reply)
	case CountChildren:
		reply.Counts = c.count()
		c.tell(reply)
	}
}

func (c *Core) startChild(reply Reply, spec ChildSpec) {
	if err := spec.Validate(); err != nil {
		c.refuse(reply, badSpec(spec.ID, err))
		return
	}
	if s := c.child(spec.ID); s != nil {
		why := ErrAlreadyPresent
		if s.state == StateRunning {
			why = ErrAlreadyStarted
		}
		c.refuse(reply, refused(spec.ID, why))
		return
	}
	// Nobody sees it until its start is over, so it may be in its place already.
	s := newSlot(spec)
	c.children = append(c.children, s)
	c.startOne(reply, s, func() { c.forget(s) })
}

// startOne starts a child for a caller.
func (c *Core) startOne(reply Reply, s *slot, undo func()) {
	reply.Child = s.spec.ID
	c.job = &job{
		starts: []*slot{s},
		done:   func() { c.tell(reply) },
		failed: func(_ *slot, err error) {
			undo()
			c.refuse(reply, &StartError{Child: s.spec.ID, Err: err})
		},
	}
}

// terminateChild also ends the tries to restart a child.
func (c *Core) terminateChild(reply Reply, id string) {
	s := c.child(id)
	if s == nil {
		c.refuse(reply, refused(id, ErrNotFound))
		return
	}
	c.job = &job{stops: []*slot{s}, done: func() { c.tell(reply) }}
}

func (c *Core) restartChild(reply Reply, id string) {
	if s, err := c.resting(id); err != nil {
		c.refuse(reply, err)
	} else {
		c.startOne(reply, s, func() {})
	}
}

func (c *Core) deleteChild(reply Reply, id string) {
	if s, err := c.resting(id); err != nil {
		c.refuse(reply, err)
	} else {
		c.forget(s)
		c.tell(reply)
	}
}

// resting finds a child that neither runs nor is about to.
func (c *Core) resting(id string) (*slot, error) {
	switch s := c.child(id); {
	case s == nil:
		return nil, refused(id, ErrNotFound)
	case s.state == StateRunning:
		return nil, refused(id, ErrRunning)
	case s.state == StateRestarting:
		return nil, refused(id, ErrRestarting)
	default:
		return s, nil
	}
}

func (c *Core) refuse(reply Reply, why error) {
	reply.Child, reply.Err = "", why
	c.tell(reply)
}

// which lists the children in the order of their start.
func (c *Core) which() []ChildInfo {
	list := make([]ChildInfo, 0, len(c.children))
	for _, s := range c.children {
		list = append(list, ChildInfo{ID: s.spec.ID, State: s.state, Type: s.spec.kind(), Restart: s.spec.Restart})
	}
	return list
}

func (c *Core) count() Counts {
	n := Counts{Specs: len(c.children)}
	for _, s := range c.children {
		if s.state == StateRunning && !s.exited {
			n.Active++
		}
		if s.spec.kind() == TypeSupervisor {
			n.Supervisors++
		} else {
			n.Workers++
		}
	}
	return n
}
