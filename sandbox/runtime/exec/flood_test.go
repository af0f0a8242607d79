package exec_test

import (
	"context"
	"io/fs"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// answers is a program that answers every call with true.
var answers = []string{"sed", "-u", `s/"method".*/"result":true}/`}

// A program that prints as fast as it can fills neither the node's memory nor
// its disk, and another one is called as before.
func TestAFloodDisturbsNobody(t *testing.T) {
	dir := t.TempDir()
	r := startRuntime(t, exec.Config{})
	m := sandbox.NewManager(sandbox.Config{
		Node: newID(), Incarnation: func() uint64 { return 1 }, Runtime: r, Store: noRows{}, LogDir: dir,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = m.Run(ctx) })
	defer running.Wait()
	defer cancel()
	spec := sandbox.Spec{ID: "shop", Children: []sandbox.Child{
		{ID: "calm", Run: &sandbox.Run{Exec: answers}, Protocol: sandbox.ProtocolJSONRPC},
	}}
	eventually(t, "the manager runs", func() bool {
		_, err := m.Create(t.Context(), spec, sandbox.WaitRunning)
		return err == nil || errs.KindOf(err) != errs.NotReady
	})
	info, err := m.Info("shop")
	require.NoError(t, err)
	calm := info.Processes[1].PID
	quiet := callTimes(t, m, calm)

	_, err = m.Create(t.Context(), sandbox.Spec{ID: "flood", Children: []sandbox.Child{
		{ID: "lines", Run: &sandbox.Run{Exec: []string{"yes", "a line of a flood"}}},
		{ID: "bytes", Run: &sandbox.Run{Exec: []string{"cat", "/dev/zero"}}},
		// What is no JSON-RPC is the log of a program that is talked to.
		{ID: "noise", Run: &sandbox.Run{Exec: []string{"yes", strings.Repeat("noise ", 40)}}, Protocol: sandbox.ProtocolJSONRPC},
	}}, sandbox.WaitRunning)
	require.NoError(t, err)
	info, err = m.Info("flood")
	require.NoError(t, err)
	flooded := func() (all uint64) {
		for _, p := range info.Processes[1:] {
			counts, err := m.Output(p.PID)
			require.NoError(t, err)
			if counts.Bytes < 3*sandbox.DefaultLogFileBytes {
				return 0
			}
			all += counts.Bytes
		}
		return all
	}
	began := time.Now()
	var loud []time.Duration
	for flooded() == 0 { // until each has printed much more than is kept
		require.Less(t, time.Since(began), 3*patience)
		loud = append(loud, callTimes(t, m, calm)...)
	}
	lasted := time.Since(began)
	var memory goruntime.MemStats
	goruntime.ReadMemStats(&memory)
	t.Logf("%d MB in %v: heap %d MB, files %d MB, 99 of 100 calls beside it within %v (before: %v)", flooded()>>20, lasted.Round(time.Millisecond),
		memory.HeapAlloc>>20, bytesIn(t, dir)>>20, share(loud, 99), share(quiet, 99))
	require.Less(t, memory.HeapAlloc, flooded()/2, "what is printed is not kept")
	require.LessOrEqual(t, bytesIn(t, dir), int64(4*sandbox.DefaultLogFileBytes))
	require.NoError(t, m.Destroy(t.Context(), "flood", "ann"))
	require.NoError(t, m.Destroy(t.Context(), "shop", "ann"))
}

// callTimes are how long some calls take.
func callTimes(t *testing.T, m *sandbox.Manager, pid string) []time.Duration {
	t.Helper()
	var times []time.Duration
	for range 100 {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		answer, err := m.Message(ctx, pid, sandbox.Message{Type: sandbox.MessageCall, Method: "x"})
		cancel()
		require.NoError(t, err)
		require.Equal(t, "true", string(answer.Result))
		times = append(times, time.Since(began))
	}
	return times
}

// share is how long at most so many of a hundred took.
func share(times []time.Duration, percent int) time.Duration {
	slices.Sort(times)
	return times[len(times)*percent/100]
}

func bytesIn(t *testing.T, dir string) (all int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, _ := d.Info() // gone: renamed meanwhile
			if info != nil {
				all += info.Size()
			}
		}
		return nil
	}))
	return all
}
