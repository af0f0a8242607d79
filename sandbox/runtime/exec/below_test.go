package exec

import (
	"os"
	osexec "os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReadBelow: from the top to the last descendant, and nobody else.
func TestReadBelow(t *testing.T) {
	cmd := osexec.Command("sh", "-c", "sh -c 'echo $$; sleep 1000; :' & sleep 1000; :")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		for _, v := range freezeAndKill(func() []victim { return below(os.Getpid(), mustBelow(t, os.Getpid())) }) {
			require.NoError(t, v.err)
		}
		_ = cmd.Wait()
	}()
	_, err = out.Read(make([]byte, 20)) // the grandchild runs
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(mustBelow(t, cmd.Process.Pid)) == 4 }, 20*time.Second, 20*time.Millisecond)
	all, err := readTable()
	require.NoError(t, err)
	for pid, p := range mustBelow(t, cmd.Process.Pid) {
		require.Equal(t, all[pid].identity, p.identity)
		line := all.ancestry(pid)
		var above []int
		for _, a := range line {
			above = append(above, a.PID)
		}
		require.Contains(t, above, cmd.Process.Pid)
	}
	require.Contains(t, mustBelow(t, os.Getpid()), cmd.Process.Pid, "of whichever thread the child is")
}

func mustBelow(t *testing.T, top int) table {
	t.Helper()
	tab, err := readBelow(top)
	require.NoError(t, err)
	return tab
}

func TestReadBelowOfNobody(t *testing.T) {
	_, err := readBelow(1 << 30)
	require.Error(t, err)
}
