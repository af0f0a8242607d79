package exec_test

import (
	osexec "os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// TestStartCost: from the start of a program to its running, without isolation,
// beside a bare fork and exec of the same with its two pipes, turn by turn.
func TestStartCost(t *testing.T) {
	if !strict {
		t.Skip("a figure: GLASSBOX_FIGURES=1 measures it")
	}
	r := startRuntime(t, exec.Config{})
	began := time.Now()
	first := start(t, r, sh("sleep 1000"))
	t.Logf("the first program ran after %v, with the start of keeper and guardian", time.Since(began).Round(time.Microsecond))
	var running, ended, bareRunning, bareEnded []time.Duration
	for range 300 {
		began := time.Now()
		cmd := osexec.Command("true")
		_, err := cmd.StdoutPipe()
		require.NoError(t, err)
		_, err = cmd.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		bareRunning = append(bareRunning, time.Since(began))
		require.NoError(t, cmd.Wait())
		bareEnded = append(bareEnded, time.Since(began))

		task := sandbox.Task{PID: newID(), Exec: []string{"true"}, Isolation: sandbox.IsolationNone}
		began = time.Now()
		p, err := r.Start(t.Context(), task)
		require.NoError(t, err)
		running = append(running, time.Since(began))
		<-p.Done()
		ended = append(ended, time.Since(began))
	}
	ratio := float64(median(running)) / float64(median(bareRunning))
	t.Logf("figure: start to running, isolation none: median %v, bare fork+exec %v, ratio %.2f   aim 2", median(running), median(bareRunning), ratio)
	t.Logf("start to proven gone: median %v, bare %v, ratio %.2f", median(ended), median(bareEnded),
		float64(median(ended))/float64(median(bareEnded)))
	require.LessOrEqual(t, ratio, 2.0)
	require.True(t, alive(first.OSPID()))
}

func median(all []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(all))[len(all)/2].Round(time.Microsecond)
}
