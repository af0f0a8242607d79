package harness_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// mine is a scenario of three nodes with these steps, asked for some objectives
// of the catalogue.
func mine(steps []harness.Step, objectives ...string) harness.Scenario {
	s := harness.Scenario{Name: "mine", Nodes: 3, Calls: harness.Calls{Every: 50 * time.Millisecond, Timeout: time.Second}, Steps: steps}
	for _, known := range harness.Scenarios() {
		for _, o := range known.Objectives {
			i := slices.Index(objectives, o.Name)
			if i >= 0 {
				s.Objectives, objectives = append(s.Objectives, o), slices.Delete(slices.Clone(objectives), i, i+1)
			}
		}
	}
	return s
}

// verdicts runs a scenario on processes, changed by wrap, and returns the
// verdict of each objective.
func verdicts(t *testing.T, s harness.Scenario, o harness.ProcessOptions, wrap func(harness.Cluster) harness.Cluster) (*harness.Report, map[string]harness.Verdict) {
	t.Helper()
	if o.Binary == "" {
		o.Binary = binary
	}
	start := harness.StartOn(o)
	r, err := harness.Run(t.Context(), func(ctx context.Context, s harness.Setup) (harness.Cluster, error) {
		c, err := start(ctx, s)
		if err != nil || wrap == nil {
			return c, err
		}
		return wrap(c), nil
	}, s, harness.Options{Progress: t.Output(), Patience: 5 * time.Second})
	require.NoError(t, err)
	t.Logf("\n%s", r.Text())
	got := map[string]harness.Verdict{}
	for _, res := range r.Results {
		got[res.Name] = res.Verdict
	}
	return r, got
}

// script writes a program of the shell.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755))
	return file
}

// unseen hides what is to be observed of n2.
type unseen struct{ harness.Cluster }

func (u unseen) Memory(ctx context.Context, node string) (harness.Memory, error) {
	if node == "n2" {
		return harness.Memory{}, errors.New("it is hidden")
	}
	return u.Cluster.Memory(ctx, node)
}

func (u unseen) Log(ctx context.Context, node string) (string, error) {
	if node == "n2" {
		return "", errors.New("it is hidden")
	}
	return u.Cluster.Log(ctx, node)
}

// TestWhatIsNotObservedIsNotMet: figures of two nodes say nothing of the third.
func TestWhatIsNotObservedIsNotMet(t *testing.T) {
	t.Parallel()
	s := mine(nil, "memory_rest", "memory_after", "goroutine_growth", "crashes", "false_deaths")
	r, got := verdicts(t, s, harness.ProcessOptions{}, func(c harness.Cluster) harness.Cluster { return unseen{c} })
	require.Contains(t, r.Text(), "What could not be observed:\n  n2: its log cannot be read: it is hidden")
	require.Equal(t, map[string]harness.Verdict{
		"memory_rest": harness.Missed, "memory_after": harness.Missed, "goroutine_growth": harness.Missed,
		"crashes": harness.NotMeasured, "false_deaths": harness.Met,
	}, got)
}

// TestEveryEndIsJudged, not only that of the last incarnation: n3 leaves with
// exit code 3, once.
func TestEveryEndIsJudged(t *testing.T) {
	t.Parallel()
	done := filepath.Join(t.TempDir(), "done")
	program := script(t, fmt.Sprintf(`%s "$@" & p=$!
trap 'kill -TERM $p; wait $p; case "$*" in *"--name n3"*) [ -e %[2]s ] || { touch %[2]s; exit 3; };; esac; exit 0' TERM
wait $p
exit 9
`, binary, done))
	r, got := verdicts(t, mine([]harness.Step{
		{Do: harness.Fault{Action: harness.Leave, Node: "n3"}},
		{When: harness.Known, Do: harness.Fault{Action: harness.Start, Node: "n3"}},
		{When: harness.Agreed},
	}, "crashes"), harness.ProcessOptions{Binary: program}, nil)
	require.Equal(t, harness.Missed, got["crashes"])
	require.Equal(t, []harness.End{{Node: "n3", How: "did not end well at leave n3: exit code 3"}}, r.Ends)
}

// TestAFrozenNodeIsKilled and started: then it is not frozen any more, and all
// is as before.
func TestAFrozenNodeIsKilled(t *testing.T) {
	t.Parallel()
	r, got := verdicts(t, mine([]harness.Step{
		{Do: harness.Fault{Action: harness.Freeze, Node: "n3"}},
		{After: 100 * time.Millisecond, Do: harness.Fault{Action: harness.Kill, Node: "n3"}},
		{When: harness.Known, Do: harness.Fault{Action: harness.Start, Node: "n3"}},
		{When: harness.Agreed, Do: harness.Fault{Action: harness.Kill, Node: "n2"}},
		{When: harness.Known, Do: harness.Fault{Action: harness.Start, Node: "n2"}},
		{When: harness.Agreed},
		{After: 500 * time.Millisecond},
	}, "rpc_success", "memory_after", "detect_kill", "crashes", "false_deaths"), harness.ProcessOptions{}, nil)
	require.NotContains(t, got, harness.NotMeasured)
	require.Equal(t, harness.Met, got["crashes"])
	require.Equal(t, harness.Met, got["false_deaths"])
	after, _ := r.Result("memory_after")
	require.Equal(t, 3, after.N)
	kills, _ := r.Result("detect_kill")
	require.Equal(t, 4, kills.N, "n3 observes the kill of n2")
	require.Positive(t, r.Faults[0].CallMS, "freezing takes a moment")
}

// TestAPartition of each kind that there is on processes, once.
func TestAPartition(t *testing.T) {
	t.Parallel()
	s, err := harness.Find("partition")
	require.NoError(t, err)
	s.Rounds = 1
	r, got := verdicts(t, s, harness.ProcessOptions{}, nil)
	require.Empty(t, r.Failure)
	for _, name := range []string{"detect_cut", "recover_heal", "rpc_success_across"} {
		require.NotEqual(t, harness.NotMeasured, got[name], name)
	}
	cuts, _ := r.Result("detect_cut")
	require.Less(t, float64(cuts.Worst), 5000.0, "one way is no slower than both")
}

// TestHealing: what could not be healed is healed later.
func TestHealing(t *testing.T) {
	t.Parallel()
	c := start(t, harness.ProcessOptions{Nodes: 3, Break: true})
	_, err := c.Break(t.Context(), harness.Link{Node: "n3"})
	require.NoError(t, err)
	faults := func() int {
		var list struct{ Faults []any }
		require.NoError(t, harness.Client(c, "n3").Call(t.Context(), "fault.list", nil, &list))
		return len(list.Faults)
	}
	require.Equal(t, 2, faults())
	_, err = c.Freeze(t.Context(), "n3")
	require.NoError(t, err)
	_, err = c.Heal(within(t, 200*time.Millisecond))
	require.Error(t, err, "it is frozen")
	_, err = c.Thaw(t.Context(), "n3")
	require.NoError(t, err)
	_, err = c.Heal(t.Context())
	require.NoError(t, err)
	require.Zero(t, faults())
}

// TestABinaryThatDoesNotStart is no miss: nothing could be run.
func TestABinaryThatDoesNotStart(t *testing.T) {
	t.Parallel()
	s, err := harness.Find("formation")
	require.NoError(t, err)
	program := script(t, "echo this is no node; exit 7\n")
	begun := time.Now()
	_, err = harness.Run(t.Context(), harness.StartOn(harness.ProcessOptions{Binary: program}), s, harness.Options{})
	require.ErrorContains(t, err, "exit code 7; its last words: this is no node")
	require.Less(t, time.Since(begun), 10*time.Second)
	for _, wait := range []func(harness.Cluster) error{
		func(c harness.Cluster) error { _, err := harness.WaitJoined(t.Context(), c); return err },
		func(c harness.Cluster) error { _, err := harness.WaitAgreed(t.Context(), c); return err },
	} {
		c, err := harness.StartProcesses(t.Context(), harness.ProcessOptions{Binary: program, Nodes: 2})
		require.NoError(t, err)
		require.ErrorContains(t, wait(c), "exit code 7")
		require.NoError(t, c.Close())
		log, err := c.Log(t.Context(), "n1")
		require.NoError(t, err, "it is kept though its folder is removed")
		require.Equal(t, "this is no node\n", log)
	}

	silent, err := harness.StartProcesses(t.Context(), harness.ProcessOptions{Binary: script(t, "exec sleep 600\n"), Nodes: 1})
	require.NoError(t, err)
	_, err = harness.WaitJoined(within(t, 300*time.Millisecond), silent)
	require.ErrorContains(t, err, "n1 has not joined")
	require.NoError(t, silent.Close())
}

// TestAForeignCluster at the addresses is not taken for ours.
func TestAForeignCluster(t *testing.T) {
	t.Parallel()
	foreign := start(t, harness.ProcessOptions{Nodes: 2})
	free, err := harness.FreeAddrs(2)
	require.NoError(t, err)
	_, err = harness.StartProcesses(t.Context(), harness.ProcessOptions{
		Binary: binary, Nodes: 2, HTTP: []string{foreign.HTTP("n1"), foreign.HTTP("n2")}, RPC: free,
	})
	require.ErrorContains(t, err, "not free")
	_, err = harness.WaitJoined(within(t, 300*time.Millisecond), swapped{foreign})
	require.ErrorContains(t, err, "answers at the address of")
	_, err = harness.WaitAgreed(within(t, 300*time.Millisecond), foreign, "n1")
	require.Error(t, err, "n2 is one too many")
}

// swapped has the nodes' addresses the wrong way round.
type swapped struct{ *harness.Processes }

func (s swapped) HTTP(node string) string {
	return s.Processes.HTTP(map[string]string{"n1": "n2", "n2": "n1"}[node])
}

// TestEndingAndStarting at the same time.
func TestEndingAndStarting(t *testing.T) {
	t.Parallel()
	c, err := harness.StartProcesses(t.Context(), harness.ProcessOptions{Binary: "/bin/true", Nodes: 1})
	require.NoError(t, err)
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for range 20 {
			<-c.Node("n1").Ended()
			_ = c.Start(t.Context(), "n1") // it may run already
		}
	})
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			c.Ending("n1")
		}
	}
	wg.Wait()
	require.NoError(t, c.Close())
}

// TestNodesAreToldNothing by variables that are meant for another.
func TestNodesAreToldNothing(t *testing.T) {
	t.Setenv("GLASSBOX_NAME", "somebody")
	t.Setenv("GLASSBOX_PING_EVERY", "never")
	t.Setenv("FOR_ALL", "yes")
	c, err := harness.StartProcesses(t.Context(), harness.ProcessOptions{Binary: script(t, "env\n"), Nodes: 1})
	require.NoError(t, err)
	<-c.Node("n1").Ended()
	log, err := c.Log(t.Context(), "n1")
	require.NoError(t, err)
	require.NotContains(t, log, "GLASSBOX_")
	require.Contains(t, log, "FOR_ALL=yes")
	require.NoError(t, c.Close())
}

// TestOptionsThatContradict the scenario are no secret.
func TestOptionsThatContradict(t *testing.T) {
	_, err := harness.StartOn(harness.ProcessOptions{Binary: binary, Nodes: 5})(t.Context(), harness.Setup{Nodes: 3})
	require.ErrorContains(t, err, "5 nodes were asked for")
}

// nosy ends the run when the first report is shown.
type nosy struct {
	shown bytes.Buffer
	end   func()
}

func (n *nosy) Write(b []byte) (int, error) {
	n.end()
	return n.shown.Write(b)
}

// TestReportsAreKept: of an interrupted verification too, and the logs of each
// run apart.
func TestReportsAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	start := harness.StartOn(harness.ProcessOptions{Binary: binary})
	hidden := func(ctx context.Context, s harness.Setup) (harness.Cluster, error) {
		c, err := start(ctx, s)
		return unseen{c}, err
	}
	v := harness.Verification{Scenario: "formation", Runs: 3, Report: dir}
	out := &nosy{end: cancel}
	passed, err := harness.Verify(ctx, hidden, v, out, t.Output())
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, passed)
	require.Contains(t, out.shown.String(), "run 1 of 3: formation on process")
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	require.NoError(t, err)
	var reports []*harness.Report
	require.NoError(t, json.Unmarshal(raw, &reports))
	require.NotEmpty(t, reports)
	require.Empty(t, reports[0].Failure)
	require.Contains(t, reports[0].Logs, filepath.Join(dir, "process-formation-1-n1.events"))
	events, err := os.ReadFile(filepath.Join(dir, "process-formation-1-n1.events"))
	require.NoError(t, err)
	require.Contains(t, string(events), `"arrived":"20`)
	require.Contains(t, string(events), "MemberJoined", "a node's history is read from its start")

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	v.Report = file
	_, err = harness.Verify(t.Context(), func(context.Context, harness.Setup) (harness.Cluster, error) {
		panic("nothing is started before")
	}, v, out, t.Output())
	require.ErrorContains(t, err, "the folder for the report")
	for want, wrong := range map[string]harness.Verification{
		"at least 1, not 0": {Scenario: "kill"}, "no scenario": {Scenario: "nope", Runs: 1}, "at least 3 nodes": {Scenario: "kill", Runs: 1, Nodes: 2},
	} {
		require.ErrorContains(t, wrong.Validate(), want)
	}
}
