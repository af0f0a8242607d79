package supervisor

import (
	"context"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Answer is a [Reply] with the instance it is about.
type Answer struct {
	Reply
	Instance Instance // of StartChild and RestartChild
}

// StartChild adds a child behind the others and starts it. It returns the
// instance, or [ErrAlreadyStarted], [ErrAlreadyPresent], or a *[StartError]:
// then the child was not added.
//
// This and the other requests are served one after the other by the
// supervisor's goroutine, behind all exits that were there before. They wait
// while it is busy. When ctx ends, a request that was not begun is taken back;
// one that was goes on: the error does not tell which. When the supervisor ends
// first the error is [ErrEnded].
func (s *Supervisor) StartChild(ctx context.Context, spec ChildSpec) (Instance, error) {
	answer, err := s.ask(ctx, StartChild{Spec: spec})
	return answer.Instance, err
}

// TerminateChild stops a child and returns when nothing of it is left. Its spec
// stays, for RestartChild, unless it is [Temporary]. A child that does not run
// stays as it is, but is no longer tried to be restarted. Error: [ErrNotFound].
func (s *Supervisor) TerminateChild(ctx context.Context, child string) error {
	_, err := s.ask(ctx, TerminateChild{Child: child})
	return err
}

// RestartChild starts a child that has ended or was terminated; this counts as
// no restart. Errors: [ErrNotFound], [ErrRunning], [ErrRestarting], or a
// *[StartError]: then the child stays as it was.
func (s *Supervisor) RestartChild(ctx context.Context, child string) (Instance, error) {
	answer, err := s.ask(ctx, RestartChild{Child: child})
	return answer.Instance, err
}

// DeleteChild forgets a child that has ended or was terminated. Errors:
// [ErrNotFound], [ErrRunning], [ErrRestarting].
func (s *Supervisor) DeleteChild(ctx context.Context, child string) error {
	_, err := s.ask(ctx, DeleteChild{Child: child})
	return err
}

// WhichChildren lists the children in the order of their start.
func (s *Supervisor) WhichChildren(ctx context.Context) ([]ChildInfo, error) {
	answer, err := s.ask(ctx, WhichChildren{})
	return answer.Children, err
}

// CountChildren counts the children.
func (s *Supervisor) CountChildren(ctx context.Context) (Counts, error) {
	answer, err := s.ask(ctx, CountChildren{})
	return answer.Counts, err
}

// ask makes a call and waits for its answer.
func (s *Supervisor) ask(ctx context.Context, request Request) (Answer, error) {
	answered := make(chan Answer, 1)
	s.mu.Lock()
	s.last++
	number := s.last
	s.calls[number] = answered
	s.mu.Unlock()
	s.inbox.put(Call{Number: number, Request: request})
	select {
	case a := <-answered:
		return a, a.Err
	case <-ctx.Done():
		s.forget(number)
		s.inbox.put(Withdraw{Number: number})
		return Answer{}, errs.Wrap(errs.From(ctx.Err()).Kind, ctx.Err(), "the supervisor has not answered yet: see with WhichChildren whether it was done")
	case <-s.ended:
	}
	select {
	case a := <-answered: // it was answered before the end
		return a, a.Err
	default:
		s.forget(number)
		return Answer{}, ErrEnded
	}
}

// reply hands an answer to the caller, if it still waits.
func (s *Supervisor) reply(r Reply) {
	for i, info := range r.Children {
		if info.State == StateRunning {
			r.Children[i].Instance = s.instances[info.ID]
		}
	}
	s.mu.Lock()
	answered := s.calls[r.Number]
	delete(s.calls, r.Number)
	s.mu.Unlock()
	if answered != nil {
		answered <- Answer{Reply: r, Instance: s.instances[r.Child]}
	}
}

func (s *Supervisor) forget(number uint64) {
	s.mu.Lock()
	delete(s.calls, number)
	s.mu.Unlock()
}
