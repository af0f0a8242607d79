package sim

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/internal/errs"
)

func TestVerify(t *testing.T) {
	var out, progress bytes.Buffer
	dir := t.TempDir()
	passed, err := Verify(t.Context(), harness.Verification{Scenario: MixedScenario, Runs: 50, Report: dir}, 1, &out, &progress)
	require.NoError(t, err)
	require.True(t, passed, out.String())
	require.Contains(t, out.String(), "rules_broken")
	require.Contains(t, progress.String(), "50 of 50 runs")
	require.FileExists(t, filepath.Join(dir, "report.json"))

	for _, s := range harness.Scenarios() {
		out.Reset()
		passed, err := Verify(t.Context(), harness.Verification{Scenario: s.Name, Runs: 2}, 1, &out, nil)
		require.NoError(t, err)
		require.True(t, passed, out.String())
	}
}

// TestAFailingScenarioTellsItsSeed, and what repeats it: the same run with the same
// figures.
func TestAFailingScenarioTellsItsSeed(t *testing.T) {
	s, err := harness.Find("kill")
	require.NoError(t, err)
	report, err := RunScenario(s, 0, 7)
	require.NoError(t, err)
	require.True(t, report.Passed())
	require.NotContains(t, report.Text(), "--seed")
	for i := range s.Objectives {
		s.Objectives[i].Aims, s.Objectives[i].Least = map[harness.Target]float64{harness.TargetSim: -1}, false
	}
	for _, nodes := range []int{0, 5} {
		report, err := RunScenario(s, nodes, 7)
		require.NoError(t, err)
		require.False(t, report.Passed())
		for _, text := range []string{report.Text(), harness.Markdown([]*harness.Report{report})} {
			require.Contains(t, text, fmt.Sprintf("glassbox verify --target sim --scenario kill --seed 7 --nodes %d\n", max(nodes, s.Nodes)))
			require.Contains(t, text, "not made smaller")
		}
		again, err := RunScenario(s, nodes, 7)
		require.NoError(t, err)
		report.Took, again.Took = 0, 0
		require.Equal(t, report.Text(), again.Text())
	}
}

// TestVerifyTwoNodes: where nobody else can be asked, two refusals are a death.
func TestVerifyTwoNodes(t *testing.T) {
	var out bytes.Buffer
	passed, err := Verify(t.Context(), harness.Verification{Scenario: MixedScenario, Runs: 60, Nodes: 2}, 1, &out, nil)
	require.NoError(t, err)
	require.True(t, passed, out.String())
	refused := Act{Faults: []Fault{{0, harness.Fault{Action: harness.Reject, Link: harness.Link{Node: "n1", Peer: "n2"}}}}}
	require.True(t, refused.gentle(3))
	require.False(t, refused.gentle(2))
	require.True(t, Act{Faults: []Fault{{0, harness.Fault{Action: harness.Drop}}}}.gentle(2))
}

func TestVerifyIsAskedWrong(t *testing.T) {
	for field, v := range map[string]harness.Verification{
		"scenario": {Scenario: "none", Runs: 1},
		"runs":     {Scenario: MixedScenario},
		"nodes":    {Scenario: MixedScenario, Runs: 1, Nodes: 1},
	} {
		_, err := Verify(t.Context(), v, 1, &bytes.Buffer{}, nil)
		require.Equal(t, errs.BadParameter, errs.KindOf(err))
		require.Equal(t, field, errs.From(err).Param)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Verify(ctx, harness.Verification{Scenario: MixedScenario, Runs: 9}, 1, &bytes.Buffer{}, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// TestShrink: of a plan that says that nothing is broken, and kills a node, the kill
// is all that is left; and what a report tells of it repeats it.
func TestShrink(t *testing.T) {
	p := Mixed(7, 3)
	p.Acts[2].Faults = append(p.Acts[2].Faults,
		Fault{time.Second, harness.Fault{Action: harness.Drop, Node: "n1", Link: harness.Link{Node: "n1", Peer: "n2"}}},
		Fault{time.Second, harness.Fault{Action: harness.Kill, Node: "n3"}})
	o, err := Run(p)
	require.NoError(t, err)
	require.False(t, o.Passed())
	small := Shrink(p, 30*time.Second)
	require.Equal(t, 1, small.size(), "%s", small)
	again, err := Run(small)
	require.NoError(t, err)
	require.False(t, again.Passed())

	report := &harness.Report{}
	dir := t.TempDir()
	m := mixed{harness.Verification{Report: dir}, 7}
	m.explain(o, report, &bytes.Buffer{})
	require.Contains(t, report.Failure, "kill n3")
	require.Contains(t, report.Failure, "glassbox verify --target sim --scenario mixed --seed 7 --nodes 3")
	require.Len(t, report.Logs, 2)
}
