package supervisor_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// serveOne serves a supervisor of one fake in a bubble; end stops it and
// returns what Serve did.
func serveOne(t *testing.T, child *fake) (s *supervisor.Supervisor, end func() error) {
	child.story = new(diary)
	with := spec(3)
	with.Children = []supervisor.ChildSpec{{ID: child.id, Restart: supervisor.Permanent, Shutdown: time.Second, Child: child}}
	s, err := supervisor.New(with, supervisor.Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	return s, func() error {
		cancel()
		return <-served
	}
}

func worker1(id string, f *fake) supervisor.ChildSpec {
	f.id, f.story = id, new(diary)
	return supervisor.ChildSpec{ID: id, Restart: supervisor.Permanent, Shutdown: time.Second, Child: f}
}

func TestDynamicChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s, end := serveOne(t, &fake{id: "a"})
		b := &fake{}
		in, err := s.StartChild(ctx, worker1("b", b))
		require.NoError(t, err)
		list, err := s.WhichChildren(ctx)
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Same(t, in, list[1].Instance)
		_, err = s.StartChild(ctx, worker1("b", &fake{}))
		require.ErrorIs(t, err, supervisor.ErrAlreadyStarted)
		require.Equal(t, errs.AlreadyExists, errs.KindOf(err))
		require.ErrorContains(t, err, `child "b": already started`)
		require.NoError(t, s.TerminateChild(ctx, "b"))
		select {
		case <-in.Done():
		default:
			t.Fatal("it is still there")
		}
		again, err := s.RestartChild(ctx, "b")
		require.NoError(t, err)
		require.NotSame(t, in, again)
		require.Equal(t, 2, b.starts)
		err = s.DeleteChild(ctx, "b")
		require.ErrorIs(t, err, supervisor.ErrRunning)
		require.Equal(t, errs.Conflict, errs.KindOf(err))
		require.NoError(t, s.TerminateChild(ctx, "b"))
		require.NoError(t, s.DeleteChild(ctx, "b"))
		err = s.TerminateChild(ctx, "b")
		require.ErrorIs(t, err, supervisor.ErrNotFound)
		require.Equal(t, errs.NotFound, errs.KindOf(err))
		_, err = s.StartChild(ctx, supervisor.ChildSpec{ID: "x"})
		require.Equal(t, errs.BadSpec, errs.KindOf(err))
		_, err = s.StartChild(ctx, worker1("x", &fake{fails: -1}))
		var failed *supervisor.StartError
		require.ErrorAs(t, err, &failed)
		n, err := s.CountChildren(ctx)
		require.NoError(t, err)
		require.Equal(t, supervisor.Counts{Specs: 1, Active: 1, Workers: 1}, n)
		require.Empty(t, s.History())
		require.NoError(t, end())
		require.Error(t, s.TerminateChild(ctx, "a"))
		_, err = s.StartChild(ctx, worker1("b", &fake{}))
		require.ErrorIs(t, err, supervisor.ErrEnded)
	})
}

// While the supervisor is busy requests wait, and are served in their order.
func TestRequestsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := serveOne(t, &fake{id: "a", slow: time.Second})
		synctest.Wait()
		begin := time.Now()
		go func() { _ = s.TerminateChild(t.Context(), "a") }()
		synctest.Wait()

		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		b := &fake{}
		_, err := s.StartChild(short, worker1("b", b))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, errs.Timeout, errs.KindOf(err))

		n, err := s.CountChildren(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(begin), "when the child has ended")
		require.Equal(t, supervisor.Counts{Specs: 1, Workers: 1}, n)
		require.Zero(t, b.starts, "what was taken back in time is not done")
		require.NoError(t, end())
	})
}

// A request that is under way when its caller gives up is carried out.
func TestRequestUnderWayGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := serveOne(t, &fake{id: "a", slow: time.Second})
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.TerminateChild(short, "a"), context.DeadlineExceeded)
		list, err := s.WhichChildren(t.Context())
		require.NoError(t, err)
		require.Equal(t, supervisor.StateUndefined, list[0].State)
		require.NoError(t, end())
	})
}

// The end of the supervisor ends the requests that wait.
func TestRequestsEndWithTheSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := serveOne(t, &fake{id: "a", slow: time.Second})
		synctest.Wait()
		terminated, counted := make(chan error, 1), make(chan error, 1)
		go func() { terminated <- s.TerminateChild(t.Context(), "a") }()
		synctest.Wait()
		go func() { _, err := s.CountChildren(t.Context()); counted <- err }()
		synctest.Wait()
		require.NoError(t, end())
		require.NoError(t, <-terminated, "it was under way")
		require.ErrorIs(t, <-counted, supervisor.ErrEnded)
	})
}

// Many callers at once, while children end: every request is answered.
func TestRequestsFromManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := supervisor.Spec{Strategy: supervisor.OneForOne, Intensity: supervisor.Intensity{MaxRestarts: 1 << 20, Period: time.Second}}
		s, err := supervisor.New(with, supervisor.Options{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }()
		var callers sync.WaitGroup
		for i := range 20 {
			callers.Go(func() {
				id := fmt.Sprint("w", i)
				for range 20 {
					_, err := s.StartChild(t.Context(), worker1(id, &fake{life: time.Duration(i+1) * time.Millisecond}))
					require.NoError(t, err)
					time.Sleep(7 * time.Millisecond)
					require.NoError(t, s.TerminateChild(t.Context(), id))
					require.NoError(t, s.DeleteChild(t.Context(), id))
				}
			})
		}
		callers.Wait()
		n, err := s.CountChildren(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
		require.Len(t, s.History(), supervisor.KeepRestarts)
		cancel()
		require.NoError(t, <-served)
	})
}

// A restart that fails again and again at once does not keep requests out.
func TestTerminateChildEndsARestartStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storm := &fake{id: "a", life: time.Second, fails: 1 << 30, story: new(diary)}
		s, err := supervisor.New(supervisor.Spec{
			Strategy: supervisor.OneForAll, Intensity: supervisor.Intensity{MaxRestarts: 1 << 30, Period: time.Second},
			Children: []supervisor.ChildSpec{{ID: "a", Restart: supervisor.Permanent, Child: storm}},
		}, supervisor.Options{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }()
		time.Sleep(time.Second)
		for len(s.History()) < supervisor.KeepRestarts { // time stands still in the storm
			runtime.Gosched()
		}
		require.NoError(t, s.TerminateChild(t.Context(), "a"))
		list, err := s.WhichChildren(t.Context())
		require.NoError(t, err)
		require.Equal(t, supervisor.StateUndefined, list[0].State)
		cancel()
		require.NoError(t, <-served)
	})
}
