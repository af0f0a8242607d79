package exec_test

import (
	"math"
	osexec "os/exec"
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
	best := math.Inf(1)
	for range 5 { // the best turn: others may use the machine
		best = min(best, costOfStart(t, r))
	}
	t.Logf("figure: start to running, isolation none, beside bare fork+exec, best of 5 turns: ratio %.2f   aim 2", best)
	require.LessOrEqual(t, best, 2.0)
	require.True(t, alive(first.OSPID()))
}

// costOfStart measures one turn, and returns the ratio of the medians.
func costOfStart(t *testing.T, r *exec.Runtime) float64 {
	t.Helper()
	var running, ended, bareRunning, bareEnded []time.Duration
	for range 100 {
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
	t.Logf("start to running: median %v, bare %v, ratio %.2f; start to proven gone: %v, bare %v, ratio %.2f",
		median(running), median(bareRunning), ratio,
		median(ended), median(bareEnded), float64(median(ended))/float64(median(bareEnded)))
	return ratio
}
