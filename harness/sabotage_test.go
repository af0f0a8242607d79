package harness_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// TestTheHarnessFindsFaults: each fault planted in a cluster is found by the
// objective that is there for it.
func TestTheHarnessFindsFaults(t *testing.T) {
	t.Parallel()
	broken, err := harness.Build(t.Context(), t.TempDir(), "sabotage")
	require.NoError(t, err)
	short := func(name string, rounds int, length time.Duration) harness.Scenario {
		s, err := harness.Find(name)
		require.NoError(t, err)
		s.Starts, s.Rounds, s.Length, s.Rest = 1, rounds, length, 300*time.Millisecond
		return s
	}
	baseline := short("baseline", 1, 3*time.Second)
	baseline.Steps = nil // the fault is in the nodes
	baseline.Objectives = slices.DeleteFunc(slices.Clone(baseline.Objectives), func(o harness.Objective) bool {
		return !slices.Contains([]string{"rpc_success", "memory_after", "crashes"}, o.Name)
	})
	wrongPeers := func(node string, args []string) []string {
		if node == "n3" {
			for i := range args {
				args[i] = strings.Replace(args[i], "n1=", "n7=", 1)
			}
		}
		return args
	}
	for name, tc := range map[string]struct {
		scenario  harness.Scenario
		options   harness.ProcessOptions
		objective string
	}{
		"pings every 10 s": {
			short("freeze", 1, 0),
			harness.ProcessOptions{Flags: []string{"--ping-every", "10s", "--suspect-after", "21s", "--dead-after", "30s"}}, "detect_freeze",
		},
		"a wrong list of peers":     {short("formation", 1, 0), harness.ProcessOptions{Args: wrongPeers}, "formation"},
		"one call in ten fails":     {baseline, harness.ProcessOptions{Binary: broken, Env: []string{"GLASSBOX_SABOTAGE=fail"}}, "rpc_success"},
		"every call leaks":          {baseline, harness.ProcessOptions{Binary: broken, Env: []string{"GLASSBOX_SABOTAGE=leak"}}, "memory_after"},
		"a node ends by a panic":    {baseline, harness.ProcessOptions{Binary: broken, Env: []string{"GLASSBOX_SABOTAGE=panic"}}, "crashes"},
		"nothing wrong: a baseline": {short("baseline", 1, time.Second), harness.ProcessOptions{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.options.Binary == "" {
				tc.options.Binary = binary
			}
			tc.options.Dir = t.TempDir()
			report, err := harness.Run(t.Context(), harness.StartOn(tc.options), tc.scenario, harness.Options{
				Progress: t.Output(), LogDir: t.TempDir(), Patience: 4 * time.Second,
			})
			require.NoError(t, err)
			t.Logf("\n%s", report.Text())
			if tc.objective == "" {
				require.True(t, report.Passed())
				require.Empty(t, report.Logs)
				return
			}
			require.False(t, report.Passed())
			require.NotEmpty(t, report.Logs, "the nodes' logs are kept")
			result, ok := report.Result(tc.objective)
			require.True(t, ok)
			require.Equal(t, harness.Missed, result.Verdict)
			if tc.objective != "formation" && tc.objective != "crashes" { // then there is nobody left to measure
				require.False(t, slices.ContainsFunc(report.Results, func(r harness.Result) bool { return r.Verdict == harness.NotMeasured }))
			}
		})
	}
}
