package exec_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// A program that the kernel does not let die is told as stuck, and is gone when
// it can be. One frozen by a cgroup of version 1 is such a program.
func TestAProgramThatCannotBeKilled(t *testing.T) {
	if os.Getenv("GLASSBOX_LONG") == "" {
		t.Skip("it takes half a minute: set GLASSBOX_LONG=1")
	}
	group := filepath.Join("/sys/fs/cgroup/freezer", newName())
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skip("no freezer of cgroup v1 here: ", err)
	}
	defer os.Remove(group)
	r := startRuntime(t, exec.Config{})
	p := start(t, r, sh("exec sleep 1000"))
	write := func(file, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(group, file), []byte(text), 0))
	}
	defer write("freezer.state", "THAWED")
	write("cgroup.procs", strconv.Itoa(p.OSPID()))
	write("freezer.state", "FROZEN")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	require.NoError(t, p.Kill(ctx))
	require.Greater(t, time.Since(began), 29*time.Second)
	require.Equal(t, memdb.CauseStuck, p.Exit().Cause)
	require.Contains(t, p.Exit().Detail, fmt.Sprintf("process %d (sleep) in state D", p.OSPID()))
	require.True(t, alive(p.OSPID()))
	write("freezer.state", "THAWED")
	eventually(t, "it is killed after all", func() bool { return !alive(p.OSPID()) })
}
