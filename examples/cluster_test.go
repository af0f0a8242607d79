// Package examples uses the harness as another project would: it has a module
// of its own that requires Glassbox, and builds the node's program from that.
package examples

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// cluster starts a cluster of processes that has formed.
func cluster(t *testing.T, nodes int) harness.Cluster {
	t.Helper()
	binary, err := harness.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	c, err := harness.StartProcesses(t.Context(), harness.ProcessOptions{Binary: binary, Nodes: nodes, Dir: t.TempDir(), Break: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	_, err = harness.WaitAgreed(within(t, 15*time.Second), c)
	require.NoError(t, err)
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestASandboxOnAnotherNode: a program is started on one node and seen from
// another.
func TestASandboxOnAnotherNode(t *testing.T) {
	c := cluster(t, 2)
	spec := map[string]any{
		"id": "sleeper", "placement": map[string]any{"node": "n2"},
		"children": []any{map[string]any{"id": "a", "run": map[string]any{"exec": []string{"sleep", "600"}}}},
	}
	require.NoError(t, harness.Client(c, "n1").Call(t.Context(), "sandbox.create", spec, nil))
	var list struct {
		Processes []struct {
			Node  string `json:"node"`
			State string `json:"state"`
		} `json:"processes"`
	}
	require.NoError(t, harness.Client(c, "n1").Call(t.Context(), "process.list", map[string]any{"type": "worker"}, &list))
	require.Len(t, list.Processes, 1)
	require.Equal(t, "n2", list.Processes[0].Node)
}

// TestAKillIsNoticed: whoever watches a node's events is told of the death, and
// why the node thinks so.
func TestAKillIsNoticed(t *testing.T) {
	c := cluster(t, 3)
	watch, err := harness.WatchNode(t.Context(), c, "n1")
	require.NoError(t, err)
	defer watch.Close()
	_, err = c.Kill(t.Context(), "n3")
	require.NoError(t, err)
	e, err := watch.Wait(within(t, 10*time.Second), func(e harness.Event) bool { return e.Type == "MemberFailed" })
	require.NoError(t, err)
	require.Equal(t, "n3", e.Subject)
	require.NotEmpty(t, e.Why)
}

// TestAScenario holds a cluster to a scenario of the catalogue.
func TestAScenario(t *testing.T) {
	binary, err := harness.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	scenario, err := harness.Find("kill")
	require.NoError(t, err)
	scenario.Rounds = 1
	report, err := harness.Run(t.Context(), harness.StartOn(harness.ProcessOptions{Binary: binary, Dir: t.TempDir()}), scenario,
		harness.Options{Progress: t.Output()})
	require.NoError(t, err)
	require.True(t, report.Passed(), "%s", report.Text())
}
