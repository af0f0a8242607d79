package exec_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// A guardian's death ends its confined programs too, and with them their
// daemons, cgroups and users.
func TestGuardianOfConfinedProgramsDies(t *testing.T) {
	r := startRuntime(t, exec.Config{Node: newName()})
	for _, level := range confinedLevels {
		t.Run(level, func(t *testing.T) {
			need(t, r, asked[level]...)
			task := sh(treeOfFour)
			task.Isolation, task.Sandbox = level, task.PID
			p := start(t, r, task)
			eventually(t, "four processes run", func() bool { return len(lines(t, task.Log)) == 4 })
			pids := marked(task.PID)
			guardian, ok := r.Guardian()
			require.True(t, ok)
			require.NoError(t, syscall.Kill(guardian, syscall.SIGKILL))
			require.Equal(t, memdb.CauseLost, exit(t, p).Cause)
			requireGone(t, append(pids, p.OSPID()))
			require.Empty(t, marked(task.PID))
			again := sh("echo again")
			again.Isolation, again.Sandbox = level, again.PID
			require.Equal(t, "again", said(t, r, again), "with another guardian")
		})
	}
}

// A program killed while it starts is gone, and so is its shim.
func TestKilledWhileItStarts(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	need(t, r, asked[sandbox.IsolationNamespaces]...)
	for range 20 {
		task := sh("sleep 1000")
		task.Isolation, task.Sandbox = sandbox.IsolationNamespaces, task.PID
		p := start(t, r, task)
		go func() { _ = p.Kill(t.Context()) }()
		require.Equal(t, memdb.CauseKilled, exit(t, p).Cause)
		require.Empty(t, marked(task.PID))
	}
}

// What goes wrong inside is told as the reason that the program did not start.
func TestConfinedStartFailures(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	for _, level := range confinedLevels {
		t.Run(level, func(t *testing.T) {
			need(t, r, asked[level]...)
			task := sandbox.Task{PID: newID(), Exec: []string{"true", strings.Repeat("x", 200<<10)}, Isolation: level}
			_, err := r.Start(t.Context(), task)
			require.ErrorContains(t, err, "too many arguments")
			task = sandbox.Task{PID: newID(), Exec: []string{"/etc"}, Isolation: level}
			_, err = r.Start(t.Context(), task)
			require.ErrorContains(t, err, "is a directory")
			task = sandbox.Task{PID: newID(), Exec: []string{"true"}, Dir: "/root", Isolation: level}
			_, err = r.Start(t.Context(), task)
			require.ErrorContains(t, err, `isolation "`+level+`"`)
			require.Empty(t, marked(task.PID))
		})
	}
}

// A mount that the sandbox's user cannot reach is told with what to do.
func TestMountThatTheUserCannotReach(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	need(t, r, append(asked[sandbox.IsolationNamespaces], isolation.UID)...)
	closed := filepath.Join(t.TempDir(), "closed", "in")
	require.NoError(t, os.MkdirAll(closed, 0o700))
	_, err := r.Start(t.Context(), sandbox.Task{
		PID: newID(), Exec: []string{"true"}, Isolation: sandbox.IsolationNamespaces, Mounts: []sandbox.Mount{{Source: closed, Target: "/data"}},
	})
	require.ErrorContains(t, err, closed)
	require.ErrorContains(t, err, "chmod")
	require.Equal(t, errs.BadSpec, errs.KindOf(err))
}
