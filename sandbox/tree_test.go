package sandbox_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// nested is a tree of two programs under a supervisor under the root, beside
// another program.
func nested(strategy string) sandbox.Spec {
	s := programs("shop", "live")
	s.Children = append(s.Children, sandbox.Child{ID: "w", Strategy: strategy, Children: programs("", "live", "live").Children})
	return s
}

// paths lists a sandbox's processes as "path state restarts".
func (w *world) paths(t *testing.T, id string) (list []string) {
	t.Helper()
	info, err := w.Info(id)
	require.NoError(t, err)
	for _, p := range info.Processes {
		list = append(list, fmt.Sprintf("%s %s %d", p.Child, p.State, p.Restarts))
	}
	return list
}

// pid finds a process by its path.
func (w *world) pid(t *testing.T, id, path string) string {
	t.Helper()
	info, err := w.Info(id)
	require.NoError(t, err)
	for _, p := range info.Processes {
		if p.Child == path {
			return p.PID
		}
	}
	require.FailNow(t, "no process", path)
	return ""
}

func (w *world) kill(t *testing.T, id, path string) {
	t.Helper()
	require.NoError(t, w.Kill(t.Context(), w.pid(t, id, path), sandbox.ReasonKill, false, "ann"))
	synctest.Wait()
}

func TestNestedSupervisors(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), nested("one_for_all"), sandbox.WaitRunning)
		require.NoError(t, err)
		require.Equal(t, []string{" running 0", "c0 running 0", "w running 0", "w/c0 running 0", "w/c1 running 0"}, w.paths(t, "shop"))
		w.kill(t, "shop", "w/c0")
		time.Sleep(time.Second) // the sibling's grace time
		synctest.Wait()
		require.Equal(t, []string{" running 0", "c0 running 0", "w running 0", "w/c0 running 1", "w/c1 running 1"}, w.paths(t, "shop"))
		stopped, err := w.Process(w.pid(t, "shop", "w/c1"))
		require.NoError(t, err)
		require.Equal(t, "its supervisor: one_for_all restarts it with another child", stopped.Exit.By)
		first := w.pid(t, "shop", "w")
		for range 3 { // the fourth restart within five seconds is one too many
			w.kill(t, "shop", "w/c0")
			time.Sleep(time.Second)
			synctest.Wait()
		}
		require.Equal(t, []string{" running 0", "c0 running 0", "w running 1", "w/c0 running 4", "w/c1 running 4"}, w.paths(t, "shop"),
			"the nested supervisor gave up, and its own restarted it")
		_, err = w.Process(first)
		require.ErrorContains(t, err, "its supervisor runs again as")
		require.Contains(t, errs.From(err).Why, "4 restarts within 5s are more than the 3 allowed")
		tree := w.Trees("shop")[0]
		require.Equal(t, sandbox.Counts{Specs: 2, Active: 2, Supervisors: 1, Workers: 1}, tree.Supervisor.Counts)
		require.Len(t, tree.Supervisor.History, 1)
		require.Len(t, tree.Children[1].Supervisor.History, 3, "a history goes on")
		require.NoError(t, w.Destroy(t.Context(), "shop", "ann"))
		require.Empty(t, w.store.processes)
	})
}

// TestEscalation: a child that fails at leisure takes its supervisor down, and that
// the sandbox, with the whole history told.
func TestEscalation(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := nested("one_for_one")
		s.Children[1].Children[0].Run.Exec[0] = "absent"
		_, err := w.Create(t.Context(), s, sandbox.WaitRunning)
		require.Equal(t, errs.BadSpec, errs.KindOf(err))
		require.Contains(t, errs.From(err).Faults[0].Pointer, "/children/1/children/0/run")
		require.Equal(t, []string{" failed 0", "c0 exited 0", "w failed 0", "w/c0 failed 0"}, w.paths(t, "shop"))
		never := w.Trees("shop")[0].Children[1].Children[1].Process
		require.Equal(t, memdb.Process{Node: "n1", Sandbox: "shop", Child: "w/c1", Type: memdb.Worker}, never, "it has not been started")
	})
}

func TestDynamicChildren(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), nested("one_for_one"), sandbox.WaitRunning)
		require.NoError(t, err)
		ctx, root, inner := t.Context(), w.pid(t, "shop", ""), w.pid(t, "shop", "w")
		child := func(id, exec, restart string) sandbox.Child {
			return sandbox.Child{ID: id, Run: &sandbox.Run{Exec: []string{exec}}, Restart: restart}
		}
		row, err := w.StartChild(ctx, inner, child("x", "live", ""))
		require.NoError(t, err)
		require.Equal(t, "w/x", row.Child)
		_, err = w.StartChild(ctx, inner, child("x", "live", ""))
		require.ErrorIs(t, err, supervisor.ErrAlreadyStarted)
		require.Equal(t, errs.AlreadyExists, errs.KindOf(err))
		_, err = w.StartChild(ctx, inner, child("y", "absent", ""))
		require.Equal(t, errs.BadSpec, errs.KindOf(err))
		require.Equal(t, "/run", errs.From(err).Faults[0].Pointer)
		_, err = w.StartChild(ctx, inner, sandbox.Child{ID: "y", Children: []sandbox.Child{child("z", "absent", "")}})
		require.Equal(t, "/children/0/run", errs.From(err).Faults[0].Pointer)
		_, err = w.StartChild(ctx, inner, child("Y", "", ""))
		require.Len(t, errs.From(err).Faults, 2)
		_, err = w.StartChild(ctx, row.PID, child("y", "live", ""))
		require.ErrorContains(t, err, "no supervisor")
		_, err = w.StartChild(ctx, root, sandbox.Child{ID: "deep", Children: []sandbox.Child{child("z", "live", "")}})
		require.NoError(t, err)
		require.Equal(t, []string{
			" running 0", "c0 running 0", "w running 0", "w/c0 running 0", "w/c1 running 0", "w/x running 0", "deep running 0", "deep/z running 0",
		}, w.paths(t, "shop"))

		require.ErrorIs(t, w.DeleteChild(ctx, inner, "x"), supervisor.ErrRunning)
		require.NoError(t, w.TerminateChild(ctx, inner, "x", "ann"))
		ended, err := w.Process(row.PID)
		require.NoError(t, err)
		require.Equal(t, "terminate_child by ann", ended.Exit.By)
		again, err := w.RestartChild(ctx, inner, "x")
		require.NoError(t, err)
		require.NotEqual(t, row.PID, again.PID)
		_, err = w.RestartChild(ctx, inner, "x")
		require.ErrorIs(t, err, supervisor.ErrRunning)
		require.NoError(t, w.TerminateChild(ctx, inner, "x", "ann"))
		require.NoError(t, w.DeleteChild(ctx, inner, "x"))
		require.NotContains(t, w.store.processes, again.PID)
		_, _, err = w.Logs(again.PID)
		require.NoError(t, err, "its log can still be read")
		require.ErrorIs(t, w.DeleteChild(ctx, inner, "x"), supervisor.ErrNotFound)

		list, err := w.WhichChildren(ctx, root)
		require.NoError(t, err)
		require.Len(t, list, 3)
		require.Equal(t, sandbox.ChildInfo{ID: "w", PID: inner, State: "running", Type: "supervisor", Restart: "permanent"}, list[1])
		counts, err := w.CountChildren(ctx, root)
		require.NoError(t, err)
		require.Equal(t, sandbox.Counts{Specs: 3, Active: 3, Supervisors: 2, Workers: 1}, counts)
	})
}

// TestTemporaryChildren are forgotten when they have ended; the newest are still
// shown, and an id can be used again.
func TestTemporaryChildren(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), sandbox.Spec{ID: "jobs", Children: []sandbox.Child{}}, sandbox.WaitRunning)
		require.NoError(t, err, "a supervisor without children waits for some")
		root := w.pid(t, "jobs", "")
		first := ""
		for i := range 100 {
			id := fmt.Sprint("job", i/2) // each id twice
			row, err := w.StartChild(t.Context(), root, sandbox.Child{ID: id, Run: &sandbox.Run{Exec: []string{"once"}}, Restart: "temporary"})
			require.NoError(t, err)
			if i == 0 {
				first = row.PID
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		require.LessOrEqual(t, len(w.store.processes), 18)
		require.True(t, strings.HasPrefix(w.paths(t, "jobs")[1], "job"))
		_, _, err = w.Logs(first)
		require.Equal(t, errs.NotFound, errs.KindOf(err), "nothing grows")
	})
}

func TestRestartOfASandbox(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		made, err := w.Create(t.Context(), nested("one_for_one"), sandbox.WaitRunning)
		require.NoError(t, err)
		root, old := w.pid(t, "shop", ""), w.pid(t, "shop", "w/c0")
		w.kill(t, "shop", "c0")
		row, err := w.Restart(t.Context(), "shop", "ann")
		require.NoError(t, err)
		require.Equal(t, made.UID, row.UID)
		require.Equal(t, memdb.SandboxRunning, row.Status)
		require.Equal(t, []string{" running 1", "c0 running 2", "w running 1", "w/c0 running 1", "w/c1 running 1"}, w.paths(t, "shop"))
		require.Len(t, w.Trees("shop")[0].Supervisor.History, 1, "it goes on")
		require.Len(t, w.store.processes, 5, "none of the old ones")
		for _, pid := range []string{root, old} {
			_, err = w.Process(pid)
			require.Equal(t, errs.NotFound, errs.KindOf(err))
			require.Contains(t, errs.From(err).Why, "ann")
		}
		_, err = w.Restart(t.Context(), "none", "ann")
		require.Equal(t, errs.NotFound, errs.KindOf(err))
	})
}

// TestRestartOfAFailedSandbox gives it another life.
func TestRestartOfAFailedSandbox(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), programs("shop", "short"), sandbox.WaitRunning)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		info, err := w.Info("shop")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxFailed, info.Sandbox.Status)
		row, err := w.Restart(t.Context(), "shop", "ann")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxRunning, row.Status)
		require.Contains(t, w.events, "SandboxRestarted shop: restarted by ann")
	})
}

// TestRestartsAtOnce are one: each waits for the same new life.
func TestRestartsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), programs("shop", "live"), sandbox.WaitRunning)
		require.NoError(t, err)
		errors := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := w.Restart(t.Context(), "shop", "ann")
				errors <- err
			}()
		}
		for range 3 {
			require.NoError(t, <-errors)
		}
		require.Equal(t, []string{" running 1", "c0 running 1"}, w.paths(t, "shop"))
	})
}

// TestAWithdrawnTerminateChild is not who ended the child later; one that is carried
// out is.
func TestAWithdrawnTerminateChild(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		spec := programs("shop", "live", "live")
		spec.Strategy = "one_for_all"
		_, err := w.Create(t.Context(), spec, sandbox.WaitRunning)
		require.NoError(t, err)
		root := w.pid(t, "shop", "")
		require.NoError(t, w.TerminateChild(t.Context(), root, "c0", "ann"))
		_, err = w.RestartChild(t.Context(), root, "c0")
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- w.TerminateChild(t.Context(), root, "c0", "ann") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.Equal(t, errs.Timeout, errs.KindOf(w.TerminateChild(ctx, root, "c1", "bob")), "the supervisor is busy")
		require.NoError(t, <-done)
		by := func(path string) string {
			row, err := w.Process(w.pid(t, "shop", path))
			require.NoError(t, err)
			return row.Exit.By
		}
		require.Equal(t, "terminate_child by ann", by("c0"))
		_, err = w.RestartChild(t.Context(), root, "c0")
		require.NoError(t, err)
		w.kill(t, "shop", "c0")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, "its supervisor: one_for_all restarts it with another child", by("c1"))
	})
}
