package exec_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// A program that the kernel does not let die is told as stuck, and is gone when
// it can be. One frozen by a cgroup of version 1 is such a program.
func TestAProgramThatCannotBeKilled(t *testing.T) {
	t.Parallel()
	freeze, thaw := freezer(t)
	r := startRuntime(t, exec.Config{})
	p := start(t, r, sh("exec sleep 1000"))
	freeze(p.OSPID())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	require.NoError(t, p.Kill(ctx))
	require.Greater(t, time.Since(began), 29*time.Second)
	require.Equal(t, memdb.CauseStuck, p.Exit().Cause)
	require.Contains(t, p.Exit().Detail, fmt.Sprintf("process %d (sleep) in state D", p.OSPID()))
	require.True(t, alive(p.OSPID()))
	thaw()
	eventually(t, "it is killed after all", func() bool { return !alive(p.OSPID()) })
}

// It does not hold up the end of its guardian either.
func TestAGuardianWhoseProgramCannotBeKilledDies(t *testing.T) {
	t.Parallel()
	freeze, thaw := freezer(t)
	r := startRuntime(t, exec.Config{})
	p, other := start(t, r, sh("exec sleep 1000")), start(t, r, sh("exec sleep 1000"))
	freeze(p.OSPID())
	guardian, _ := r.Guardian()
	require.NoError(t, syscall.Kill(guardian, syscall.SIGKILL))
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		require.Fail(t, "it is waited for")
	}
	require.Equal(t, memdb.CauseStuck, p.Exit().Cause)
	require.Equal(t, memdb.CauseLost, exit(t, other).Cause)
	start(t, r, sh("true")) // with another guardian
	thaw()
	eventually(t, "it is killed after all", func() bool { return !alive(p.OSPID()) })
}

// freezer makes a group whose processes cannot be killed while they are in it.
func freezer(t *testing.T) (freeze func(pid int), thaw func()) {
	if os.Getenv("GLASSBOX_LONG") == "" {
		t.Skip("it takes half a minute: set GLASSBOX_LONG=1")
	}
	group := filepath.Join("/sys/fs/cgroup/freezer", newName())
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skip("no freezer of cgroup v1 here: ", err)
	}
	write := func(file, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(group, file), []byte(text), 0))
	}
	thaw = func() { write("freezer.state", "THAWED") }
	t.Cleanup(func() {
		thaw()
		eventually(t, "the group is empty", func() bool { return os.Remove(group) == nil })
	})
	return func(pid int) {
		write("cgroup.procs", strconv.Itoa(pid))
		write("freezer.state", "FROZEN")
	}, thaw
}
