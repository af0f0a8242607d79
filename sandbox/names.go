package sandbox

import (
	"context"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Names holds the names of this node's slots, whatever process is in them.
type Names interface {
	// Claim returns when all members have acknowledged it; at once if the slot has the
	// name already. Kinds: name_taken (it names the holder), node_unavailable, timeout;
	// none of them leaves a claim.
	Claim(ctx context.Context, name, sandbox, child string) error
	// Release gives the name up, and tells why.
	Release(ctx context.Context, name, why string) error
}

type aloneNames struct{}

func (aloneNames) Claim(context.Context, string, string, string) error { return nil }
func (aloneNames) Release(context.Context, string, string) error       { return nil }

// takeName takes the name of the child before its first process starts; a restart
// keeps it. What has the name now and is about to give it up is waited for. When ctx
// ends first, so is this claim: it goes on, and what it gets is given up.
func (s *slot) takeName(ctx context.Context) error {
	s.mu.Lock()
	has := s.named
	s.mu.Unlock()
	if s.spec.Name == "" || has {
		return nil
	}
	t := s.tree
	select {
	case <-t.nameLeft(s.spec.Name):
	case <-ctx.Done():
		return t.stoppedStart()
	}
	claimed := make(chan error, 1)
	run := t.m.running()
	t.m.tasks.Go(func() { // the tree, a task itself, runs
		claim, cancel := context.WithTimeout(run, claimTimeout)
		defer cancel()
		claimed <- t.m.cfg.Names.Claim(claim, s.spec.Name, t.spec.ID, s.path)
	})
	select {
	case err := <-claimed:
		s.setNamed(err == nil)
		return err
	case <-ctx.Done():
		t.leaveName(s.spec.Name, "its child was stopped while it started", func() bool { return <-claimed == nil })
		return t.stoppedStart()
	}
}

// stoppedStart is the error of a start that its supervisor's end has cut short.
func (t *tree) stoppedStart() error {
	return errs.New(errs.Conflict, "its supervisor was stopped while it started: see how sandbox %q is with sandbox.info", t.spec.ID)
}

func (s *slot) setNamed(named bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.named = named
}

// nameLeft returns what is closed when nothing of the tree is about to give the name
// up.
func (t *tree) nameLeft(name string) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if left, ok := t.leaving[name]; ok {
		return left
	}
	left := make(chan struct{})
	close(left)
	return left
}

// leaveName gives a name of the tree up, in a task of its own, if holds says that there
// is something to give up. Whoever wants the name in this tree waits for that from now on.
func (t *tree) leaveName(name, why string, holds func() bool) {
	left := make(chan struct{})
	t.mu.Lock()
	before, behind := t.leaving[name]
	t.leaving[name] = left
	t.mu.Unlock()
	if !t.m.later(func(run context.Context) {
		if behind {
			<-before
		}
		if holds() {
			ctx, cancel := context.WithTimeout(run, claimTimeout)
			defer cancel()
			t.m.stored("names", name, notFoundIsFine(t.m.cfg.Names.Release(ctx, name, why)))
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		close(left)
		if t.leaving[name] == left {
			delete(t.leaving, name)
		}
	}) {
		close(left) // the node ends, and its names with it
	}
}

// releaseName gives up the name that a member holds, if it has one.
func (t *tree) releaseName(m member, why string) {
	if s, ok := m.(*slot); ok && s.unname() {
		t.leaveName(s.spec.Name, why, func() bool { return true })
	}
}

// unname says whether the slot had its name until now.
func (s *slot) unname() (had bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, s.named = s.named, false
	return had
}

// releaseAll gives up all names of the tree, of which nothing runs any more, and waits
// for that.
func (t *tree) releaseAll(ctx context.Context) {
	t.root.each(func(m member) { t.releaseName(m, "its sandbox is no more") })
	t.mu.Lock()
	var all []chan struct{}
	for _, left := range t.leaving {
		all = append(all, left)
	}
	t.mu.Unlock()
	for _, left := range all {
		select {
		case <-left:
		case <-ctx.Done():
			return
		}
	}
}

// NameLost says that a slot's name went to another holder, which had it while this
// node did not see that one: the next start of the slot asks for it again.
func (m *Manager) NameLost(sandbox, child, why string) {
	t, err := m.tree(sandbox)
	if err != nil {
		return
	}
	t.root.each(func(m member) {
		if s, ok := m.(*slot); ok && s.path == child {
			s.setNamed(false)
			s.update(func() { s.row.Name = "" })
			s.say("lost the name %q: %s", s.spec.Name, why)
		}
	})
}
