package testcontainers

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// TestBaseline runs the scenario baseline, shortened, and asks what it asks; on
// a busy machine only for the floors.
func TestBaseline(t *testing.T) {
	Need(t)
	s, err := harness.Find("baseline")
	require.NoError(t, err)
	s.Starts, s.Rounds = 1, 1
	r, err := harness.Run(t.Context(), StartOn(Options{Binary: binary(t)}), s, harness.Options{Progress: t.Output(), LogDir: t.TempDir()})
	require.NoError(t, err)
	t.Logf("\n%s", r.Text())
	require.Empty(t, r.Failure)
	require.Empty(t, r.Ends)
	for _, result := range r.Results {
		require.NotEqual(t, harness.NotMeasured, result.Verdict, result.Name)
		if result.Floor == nil {
			continue
		}
		if worst := float64(result.Worst); result.Least {
			require.GreaterOrEqual(t, worst, *result.Floor, result.Name)
		} else {
			require.LessOrEqual(t, worst, *result.Floor, result.Name)
		}
	}
	if strict {
		require.True(t, r.Passed())
	}
}

// TestStartOn: what cannot be started is no cluster.
func TestStartOn(t *testing.T) {
	c, err := StartOn(Options{Binary: "/nonexistent"})(context.Background(), harness.Setup{Nodes: 3})
	require.ErrorContains(t, err, "harness.Build makes it")
	require.Nil(t, c)
}
