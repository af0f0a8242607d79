package harness_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

// TestPromisesOfPrograms measures what is promised of the programs that a node
// runs; see TestPromises for what is asked when.
func TestPromisesOfPrograms(t *testing.T) {
	if !strict {
		t.Parallel()
	}
	t.Run("crowd", crowd)
	t.Run("flood", flood)
}

// helpers lists a node's helper processes by name: the keeper, and the guardian
// below it.
func helpers(t *testing.T, node int) map[string]int {
	t.Helper()
	found := map[string]int{}
	for line := []int{node}; len(line) > 0; line = line[1:] {
		for _, pid := range children(t, line[0]) {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // it may have ended
			if kind, ok := strings.CutPrefix(strings.TrimSpace(string(name)), "glassbox-"); ok {
				found[kind] = pid
				line = append(line, pid)
			}
		}
	}
	return found
}

// residentParts reads a process's resident memory in kB: all of it, and with what it
// shares with others divided among them.
func residentParts(t *testing.T, pid int) (rss, pss int64) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "Rss:":
			rss, err = strconv.ParseInt(fields[1], 10, 64)
		case "Pss:":
			pss, err = strconv.ParseInt(fields[1], 10, 64)
		}
		require.NoError(t, err)
	}
	return rss, pss
}

// crowd: memory of a node with 200 sandboxes of three processes each, and of its
// guardian and keeper: the worst of some time.
func crowd(t *testing.T) {
	c := start(t, harness.ProcessOptions{Nodes: 1})
	node := c.Node("n1")
	sandboxes := rounds(20, 200)
	next := make(chan int)
	var creators sync.WaitGroup
	for range 4 {
		creators.Go(func() {
			for i := range next {
				child := func(id string) any {
					return map[string]any{"id": id, "run": map[string]any{"exec": []string{"sleep", "600"}}}
				}
				spec := map[string]any{"id": fmt.Sprintf("s%d", i), "children": []any{child("a"), child("b"), child("c")}}
				if err := node.Client().Call(t.Context(), "sandbox.create", spec, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	begun := time.Now()
	for i := range sandboxes {
		next <- i
	}
	close(next)
	creators.Wait()
	t.Logf("%d sandboxes of 3 processes created in %v", sandboxes, time.Since(begun).Round(time.Millisecond))

	pids := helpers(t, node.PID())
	require.Len(t, pids, 2)
	pids["node"] = node.PID()
	settled := time.Now().Add(time.Duration(rounds(1, 10)) * time.Second)
	var worst int64
	var told string
	for now := range tick(t, 500*time.Millisecond) {
		var sum, shared int64
		var parts []string
		for who, pid := range pids {
			rss, pss := residentParts(t, pid)
			sum, shared = sum+rss, shared+pss
			parts = append(parts, fmt.Sprintf("%s %d (Pss %d)", who, rss, pss))
		}
		if sum > worst {
			slices.Sort(parts)
			worst, told = sum, fmt.Sprintf("%s; Pss of all %d", strings.Join(parts, ", "), shared)
		}
		if now.After(settled) {
			break
		}
	}
	t.Logf("resident kB: %s", told)
	figure(t, fmt.Sprintf("%d sandboxes x 3: node + guardian + keeper, resident kB", sandboxes), worst, 70<<10, 140<<10)
}

// flood: a program that prints as fast as it can makes its node larger only by the
// room that a busy node has for its garbage (internal/node/tidy.go), and
// another program's lines are not held up: from being printed to being kept.
func flood(t *testing.T) {
	c := start(t, harness.ProcessOptions{Nodes: 1})
	node := c.Node("n1")
	create := func(id string, exec ...string) {
		spec := map[string]any{"id": id, "children": []any{map[string]any{"id": "a", "run": map[string]any{"exec": exec}}}}
		require.NoError(t, node.Client().Call(t.Context(), "sandbox.create", spec, nil))
	}
	took := time.Duration(rounds(1, 10)) * time.Second
	create("steady", "sh", "-c", "while :; do date +%s%N; sleep 0.02; done")
	<-time.After(took)
	quiet := delays(t, node, "steady")
	before, err := harness.RSS(node.PID())
	require.NoError(t, err)

	create("flood", "yes", strings.Repeat("flood", 16))
	var worst int64
	begun := time.Now()
	for now := range tick(t, 50*time.Millisecond) {
		rss, err := harness.RSS(node.PID())
		require.NoError(t, err)
		worst = max(worst, rss)
		if now.Sub(begun) > took {
			break
		}
	}
	busy := delays(t, node, "steady")
	busy = busy[len(quiet):] // those since
	var page operations.ProcessLogs
	require.NoError(t, node.Client().Call(t.Context(), "process.logs", map[string]any{"pid": pidIn(t, node, "flood"), "limit": 4096}, &page))
	require.NotEmpty(t, page.Entries)
	read := float64(page.Entries[len(page.Entries)-1].Seq) * 81 / 1e6 / time.Since(begun).Seconds()
	t.Logf("%.0f MB/s were read; the node had %d kB before", read, before/1000)
	figure(t, "node in a flood of output, resident kB, worst", worst/1000, 120_000, 240_000)
	t.Logf("another program's line, printed to kept, without the flood: median %v, p99 %v of %d", quiet.at(50), quiet.at(99), len(quiet))
	figure(t, "another program's line in the flood, median", busy.at(50), 20*time.Millisecond, 5*time.Second)
	figure(t, "another program's line in the flood, p99", busy.at(99), 100*time.Millisecond, 10*time.Second)
}

// pidIn finds the one process of a sandbox.
func pidIn(t *testing.T, n *harness.Node, sandbox string) string {
	t.Helper()
	var list operations.ProcessList
	require.NoError(t, n.Client().Call(t.Context(), "process.list", map[string]any{"sandbox": sandbox, "type": "worker"}, &list))
	require.Len(t, list.Processes, 1)
	return list.Processes[0].PID
}

// latencies are in the order in which they were taken.
type latencies []time.Duration

// at is the given percentile; zero of none.
func (l latencies) at(percent int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(l))[(len(l)-1)*percent/100].Round(time.Microsecond)
}

// delays reads how long the lines of a program took that prints the time.
func delays(t *testing.T, n *harness.Node, sandbox string) latencies {
	t.Helper()
	var all latencies
	pid, after := pidIn(t, n, sandbox), uint64(0)
	for {
		var page operations.ProcessLogs
		require.NoError(t, n.Client().Call(t.Context(), "process.logs", map[string]any{"pid": pid, "after": after}, &page))
		if len(page.Entries) == 0 {
			require.NotEmpty(t, all)
			return all
		}
		for _, line := range page.Entries {
			after = line.Seq
			ns, err := strconv.ParseInt(line.Line, 10, 64)
			if line.Stream == "stdout" && err == nil {
				all = append(all, line.Time.Sub(time.Unix(0, ns)))
			}
		}
	}
}
