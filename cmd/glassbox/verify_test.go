package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// TestVerify holds this very binary to a scenario, and keeps the report.
func TestVerify(t *testing.T) {
	s := newShell(t)
	dir, summary := t.TempDir(), filepath.Join(t.TempDir(), "summary.md")
	t.Setenv("GITHUB_STEP_SUMMARY", summary)
	r := s.run("verify", "--scenario", "formation", "--nodes", "2", "--report", dir)
	require.Contains(t, []int{0, 1}, r.code, "%s", r.err) // a busy machine may miss an aim
	require.Contains(t, r.out, "formation on process, 2 nodes")
	require.Regexp(t, `formation +≤ 10000 ms`, r.out)
	require.Contains(t, r.err, "2 nodes formed in", "it tells what it does")
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	require.NoError(t, err)
	var reports []struct {
		Scenario string
		Failure  string
	}
	require.NoError(t, json.Unmarshal(raw, &reports))
	require.Len(t, reports, 1)
	require.Empty(t, reports[0].Failure)
	require.FileExists(t, filepath.Join(dir, "report.xml"))
	told, err := os.ReadFile(summary)
	require.NoError(t, err)
	require.Contains(t, string(told), "| formation |")

	s.fails(2, `no scenario "nope"; there are baseline`, "verify", "--scenario", "nope")
	s.fails(2, "at least 3 nodes, not 2", "verify", "--scenario", "kill", "--nodes", "2")
	s.fails(2, "1 to 32", "verify", "--nodes", "99")
	s.fails(2, "at least 1", "verify", "--runs", "0")
	s.fails(2, "make verify-docker", "verify", "--target", "docker")
	s.fails(2, "leave --addr out", "verify", "--addr", "127.0.0.1:1")
	s.fails(2, "leave --timeout out", "verify", "--timeout", "1s")
	s.fails(2, "the folder for the report", "verify", "--report", filepath.Join(dir, "report.json"))
	s.env["GLASSBOX_ADDR"] = "127.0.0.1:1" // for the other commands
	s.fails(2, `no scenario "nope"`, "verify", "--scenario", "nope")
}

// wordless hides the nodes' logs: whether one panicked is not known then.
type wordless struct{ harness.Cluster }

func (wordless) Log(context.Context, string) (string, error) { return "", errors.New("it is hidden") }

// TestVerifyFails if something was missed, could not be measured or could not be
// run, and if it was interrupted.
func TestVerifyFails(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	require.NoError(t, err)
	start := harness.StartOn(harness.ProcessOptions{Binary: exe})
	verify := func(ctx context.Context, start harness.Starter) (code int, out, told string) {
		var stdout, stderr buffer
		a := &app{out: &stdout, err: &stderr, getenv: func(string) string { return "" }, output: "json"}
		err := a.verifyOn(ctx, start, harness.Verification{Scenario: "formation", Nodes: 2, Runs: 1})
		require.Error(t, err)
		return a.fail(err), stdout.String(), stderr.String()
	}
	code, out, told := verify(t.Context(), func(ctx context.Context, s harness.Setup) (harness.Cluster, error) {
		c, err := start(ctx, s)
		return wordless{c}, err
	})
	require.Equal(t, 1, code)
	require.Contains(t, told, "not everything that is promised was met")
	var reports []*harness.Report
	require.NoError(t, json.Unmarshal([]byte(out), &reports), "the reports are the output")
	crashes, ok := reports[0].Result("crashes")
	require.True(t, ok)
	require.Equal(t, harness.NotMeasured, crashes.Verdict)

	code, _, told = verify(t.Context(), harness.StartOn(harness.ProcessOptions{Binary: "/bin/false"}))
	require.Equal(t, 2, code)
	require.Contains(t, told, "has ended, exit code 1")

	ctx, cancel := context.WithCancel(t.Context())
	code, out, told = verify(ctx, func(ctx context.Context, s harness.Setup) (harness.Cluster, error) {
		time.AfterFunc(100*time.Millisecond, cancel)
		return start(ctx, s)
	})
	require.Equal(t, 1, code)
	require.Contains(t, told, "interrupted")
	require.Contains(t, out, `"failure": "interrupted"`)
}

// TestAnInterruptedVerify ends its nodes and does not exit with 0.
func TestAnInterruptedVerify(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	ctx, cancel := context.WithCancel(t.Context())
	var out, errOut buffer
	wait := s.start(ctx, &out, &errOut, "verify", "--scenario", "formation")
	require.Eventually(t, func() bool { return strings.Contains(errOut.String(), "nodes formed in") }, 20*time.Second, 5*time.Millisecond)
	cancel()
	require.Equal(t, 1, wait())
	require.Contains(t, errOut.String(), "glassbox: interrupted\n")
}

// TestVerifyPartition: the scenario that breaks links can be run, too.
func TestVerifyPartition(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	ctx, cancel := context.WithCancel(t.Context())
	var out, errOut buffer
	wait := s.start(ctx, &out, &errOut, "verify", "--scenario", "partition")
	require.Eventually(t, func() bool { return strings.Contains(errOut.String(), "cut n3 (both) from all was mended") }, 20*time.Second, 10*time.Millisecond)
	cancel()
	require.Equal(t, 1, wait())
}

// TestVerifySimulated: a seed decides everything, and only what is simulated has
// one.
func TestVerifySimulated(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	require.Contains(t, s.ok("verify", "--target", "sim", "--runs", "3", "--seed", "5"), "rules_broken")
	require.Contains(t, s.ok("verify", "--target", "sim", "--scenario", "kill"), "detect_kill")
	s.fails(2, "--target sim", "verify", "--seed", "5")
	s.fails(2, "at least 1", "verify", "--target", "sim", "--runs", "0")
	s.fails(2, "process or sim", "verify", "--target", "moon")
}
