package supervisor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// family is a supervisor with a nested one, of fakes in virtual time:
// root [a, inner [b, c]].
type family struct {
	root   *supervisor.Supervisor
	inner  *supervisor.Nested
	story  diary
	a, b   *fake
	c      *fake
	cancel context.CancelFunc
	end    chan error
}

// startFamily serves one whose nested supervisor has this restart and
// tolerates so many restarts.
func startFamily(t *testing.T, restart supervisor.Restart, max int, change func(f *family)) *family {
	f := &family{end: make(chan error, 1)}
	for id, at := range map[string]**fake{"a": &f.a, "b": &f.b, "c": &f.c} {
		*at = &fake{id: id, story: &f.story}
	}
	change(f)
	hook := func(e supervisor.Event) { f.story.add("%T %+v", e, e) }
	child := func(c *fake) supervisor.ChildSpec {
		return supervisor.ChildSpec{ID: c.id, Restart: supervisor.Permanent, Shutdown: 3 * time.Second, Child: c}
	}
	in := spec(max)
	in.Children = []supervisor.ChildSpec{child(f.b), child(f.c)}
	var err error
	f.inner, err = supervisor.NewNested(in, supervisor.Options{Name: "inner", OnEvent: hook})
	require.NoError(t, err)
	out := spec(3)
	out.Children = []supervisor.ChildSpec{child(f.a), {ID: "inner", Type: supervisor.TypeSupervisor, Restart: restart, Child: f.inner}}
	f.root, err = supervisor.New(out, supervisor.Options{Name: "root", OnEvent: hook})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	f.cancel = cancel
	go func() { f.end <- f.root.Serve(ctx) }()
	return f
}

func TestNestedStartsAndStopsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFamily(t, supervisor.Permanent, 3, func(f *family) { f.c.slow, f.b.slow = 2*time.Second, time.Second })
		synctest.Wait()
		begin := time.Now()
		f.cancel()
		require.NoError(t, <-f.end)
		require.Equal(t, 3*time.Second, time.Since(begin), "it waits for all of the nested one, whatever its own grace")
		require.Equal(t, []string{
			"supervisor.ChildStarted {Supervisor:root Child:a Restart:false}",
			"supervisor.ChildStarted {Supervisor:inner Child:b Restart:false}",
			"supervisor.ChildStarted {Supervisor:inner Child:c Restart:false}",
			"supervisor.AllRunning {Supervisor:inner}",
			"supervisor.ChildStarted {Supervisor:root Child:inner Restart:false}",
			"supervisor.AllRunning {Supervisor:root}",
			"supervisor.ChildStopping {Supervisor:root Child:inner Grace:0s}",
			"supervisor.ChildStopping {Supervisor:inner Child:c Grace:3s}",
			"stop c within 3s",
			"supervisor.ChildExited {Supervisor:inner Child:c Reason:abnormal Why:ended}",
			"supervisor.ChildStopping {Supervisor:inner Child:b Grace:3s}",
			"stop b within 3s",
			"supervisor.ChildExited {Supervisor:inner Child:b Reason:abnormal Why:ended}",
			"supervisor.ChildExited {Supervisor:root Child:inner Reason:shutdown Why:stopped by its supervisor}",
			"supervisor.ChildStopping {Supervisor:root Child:a Grace:3s}",
			"stop a within 3s",
			"supervisor.ChildExited {Supervisor:root Child:a Reason:abnormal Why:ended}",
		}, f.story.lines)
	})
}

// A nested supervisor that gives up ends with shutdown: a permanent one is
// restarted, and goes on with its history; a transient one is not.
func TestNestedGivesUp(t *testing.T) {
	for _, restart := range []supervisor.Restart{supervisor.Permanent, supervisor.Transient} {
		synctest.Test(t, func(t *testing.T) {
			f := startFamily(t, restart, 1, func(f *family) { f.c.life = time.Second })
			time.Sleep(2500 * time.Millisecond) // c ended at 1 s, and at 2 s: once too often
			synctest.Wait()
			children, err := f.root.WhichChildren(t.Context())
			require.NoError(t, err)
			if restart == supervisor.Transient {
				require.Equal(t, supervisor.StateUndefined, children[1].State)
				require.Empty(t, f.root.History())
				_, err := f.inner.Supervisor().WhichChildren(t.Context())
				require.ErrorIs(t, err, supervisor.ErrEnded)
			} else {
				require.Equal(t, supervisor.StateRunning, children[1].State)
				require.Equal(t, 2, f.b.starts)
				require.Len(t, f.root.History(), 1)
				require.Equal(t, supervisor.ReasonShutdown, f.root.History()[0].Reason)
				require.Contains(t, f.root.History()[0].Why, `the last was of child "c"`)
				require.Len(t, f.inner.Supervisor().History(), 1, "it was restarted, its history is still there")
				n, err := f.inner.Supervisor().CountChildren(t.Context())
				require.NoError(t, err)
				require.Equal(t, supervisor.Counts{Specs: 2, Active: 2, Workers: 2}, n)
			}
			n, err := f.root.CountChildren(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, n.Supervisors)
			f.cancel()
			require.NoError(t, <-f.end)
		})
	}
}

func TestNestedFirstStartFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFamily(t, supervisor.Permanent, 3, func(f *family) { f.c.fails = -1 })
		var start *supervisor.StartError
		err := <-f.end
		require.ErrorAs(t, err, &start)
		require.Equal(t, "inner", start.Child)
		require.ErrorContains(t, err, `child "c" could not be started: refused`)
		require.Contains(t, f.story.lines, "stop b within 3s")
		require.Contains(t, f.story.lines, "stop a within 3s")
	})
}

func TestNestedStartIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFamily(t, supervisor.Permanent, 3, func(f *family) { f.c.hangs = true })
		synctest.Wait()
		f.cancel()
		require.NoError(t, <-f.end)
		require.Contains(t, f.story.lines, "stop b within 3s")
		require.NotContains(t, f.story.lines, "supervisor.ChildStarted {Supervisor:root Child:inner Restart:false}")
	})
}

func TestNestedSpecIsChecked(t *testing.T) {
	_, err := supervisor.NewNested(supervisor.Spec{}, supervisor.Options{})
	require.ErrorContains(t, err, "strategy")
}
