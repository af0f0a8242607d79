package exec_test

import (
	"context"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// noRows stores nothing.
type noRows struct{}

func (noRows) PutSandbox(memdb.Sandbox) error { return nil }
func (noRows) DeleteSandbox(string) error     { return nil }
func (noRows) PutProcess(memdb.Process) error { return nil }
func (noRows) DeleteProcess(string) error     { return nil }

func (noRows) ReplaceProcess(string, memdb.Process) error { return nil }

// A sandbox of real programs survives its guardian: its supervisor restarts
// what was lost, once.
func TestSandboxSurvivesItsGuardian(t *testing.T) {
	t.Parallel()
	t.Run("killed", func(t *testing.T) { sandboxSurvives(t, syscall.SIGKILL) })
	t.Run("frozen", func(t *testing.T) { sandboxSurvives(t, syscall.SIGSTOP) })
}

func sandboxSurvives(t *testing.T, sig syscall.Signal) {
	r := startRuntime(t, exec.Config{})
	exit(t, start(t, r, sh("true")))
	node := newID()
	m := sandbox.NewManager(sandbox.Config{
		Node: node, Incarnation: func() uint64 { return 1 }, Runtime: r, Store: noRows{},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = m.Run(ctx) })
	defer running.Wait()
	defer cancel()
	child := func(id, script string) sandbox.Child {
		return sandbox.Child{ID: id, Run: &sandbox.Run{Exec: []string{"sh", "-c", script}}}
	}
	spec := sandbox.Spec{ID: "shop", Children: []sandbox.Child{child("a", "sleep 1000"), child("b", treeOfFour)}}
	eventually(t, "the manager runs", func() bool {
		_, err := m.Create(t.Context(), spec, sandbox.WaitRunning)
		return err == nil || errs.KindOf(err) != errs.NotReady
	})
	guardian, _ := r.Guardian()
	require.NoError(t, syscall.Kill(guardian, sig))
	eventually(t, "both are restarted", func() bool {
		info, err := m.Info("shop")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxRunning, info.Sandbox.Status, info.Sandbox.Why)
		a, b := info.Processes[1], info.Processes[2]
		return a.Restarts == 1 && b.Restarts == 1 && a.State == memdb.ProcessRunning && b.State == memdb.ProcessRunning
	})
	require.NoError(t, m.Destroy(t.Context(), "shop", "ann"))
	require.Empty(t, marked(node+"."))
}
