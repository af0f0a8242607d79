package supervisor_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	oneScript = flag.Uint64("script", 0, "run only the script of this seed against OTP, and print its trace")
	scripts   = flag.Uint64("scripts", 500, "how many scripts to run against OTP")
)

// TestOTP runs random scripts on OTP's supervisor and on ours. They must tell
// the same: every start and stop, in order, every result, and after every step
// all supervisors with their children. What a script can be is in script_test.go,
// what is left out of it on purpose in doc.go.
func TestOTP(t *testing.T) {
	needErlang(t)
	first, last := uint64(1), *scripts
	if *oneScript != 0 {
		first, last = *oneScript, *oneScript
	}
	var all []script
	for seed := first; seed <= last; seed++ {
		all = append(all, makeScript(seed))
	}
	begin := time.Now()
	theirs := runOTP(t, all)
	took := time.Since(begin)
	begin = time.Now()
	differ, lines := 0, 0
	var told strings.Builder
	for i, s := range all {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		ours := s.replay(ctx)
		cancel()
		lines += len(ours)
		told.WriteString(strings.Join(ours, "\n") + "\n")
		if *oneScript != 0 {
			t.Logf("%s\n%s", s, strings.Join(ours, "\n"))
		}
		if !slices.Equal(theirs[i], ours) {
			if differ++; differ <= 3 {
				t.Errorf("script %d: repeat it with -run TestOTP -script %d\n%s\n%s", s.seed, s.seed, s, difference(theirs[i], ours))
			}
		}
	}
	require.Zero(t, differ, "scripts differ")
	if *oneScript == 0 {
		// Scripts that meet no trouble would prove nothing.
		for _, met := range meetings {
			require.Contains(t, told.String(), met)
		}
	}
	t.Logf("%d scripts, %d lines equal; OTP took %s, ours %s", len(all), lines, took.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
}

// meetings is what the scripts together must have come to.
var meetings = []string{
	"\nok\n", "\nalready_started\n", "\nalready_present\n", "\nnot_found\n", "\nrunning\n", "\nrestarting\n", "\nfailed\n", "\nended\n",
	":supervisor:undefined", ":supervisor:running", ":worker:restarting", ":worker:undefined",
	"\nroot failed", "\ntree ended", "\nno supervisor", "\nno child", "\nfailed [c", "\nstopped [c",
}

// needErlang skips a test where there is no Erlang and says why; with
// GLASSBOX_REQUIRE set it fails.
func needErlang(t *testing.T) {
	for _, program := range []string{"erl", "erlc"} {
		if _, err := exec.LookPath(program); err != nil {
			require.Empty(t, os.Getenv("GLASSBOX_REQUIRE"), "GLASSBOX_REQUIRE is set, and %s: install erlang-base", err)
			t.Skipf("%s: install erlang-base to compare with OTP", err)
		}
	}
}

// runOTP runs all scripts in one Erlang and returns their traces.
func runOTP(t *testing.T, all []script) [][]string {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "scripts"), filepath.Join(dir, "traces")
	require.NoError(t, os.WriteFile(in, []byte(join(all, "")), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(len(all))*20*time.Millisecond)
	defer cancel()
	said, err := exec.CommandContext(ctx, "erlc", "-o", dir, "testdata/otp.erl").CombinedOutput()
	require.NoError(t, err, "%s", said)
	// The emulator gives up by itself when the test is killed: its input ends.
	said, err = exec.CommandContext(ctx, "erl", "-noshell", "-pa", dir, "-eval",
		`try otp:main("`+in+`", "`+out+`"), halt(0) catch C:W:S -> io:format("~p ~p ~p~n", [C, W, S]), halt(1) end.`).CombinedOutput()
	require.NoError(t, err, "%s", said)
	raw, err := os.ReadFile(out)
	require.NoError(t, err)
	var traces [][]string
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, "#") {
			traces = append(traces, nil)
		} else {
			traces[len(traces)-1] = append(traces[len(traces)-1], line)
		}
	}
	require.Len(t, traces, len(all))
	return traces
}

// difference shows where two traces part, and what came before.
func difference(theirs, ours []string) string {
	same := 0
	for same < len(theirs) && same < len(ours) && theirs[same] == ours[same] {
		same++
	}
	tail := func(lines []string) string { return strings.Join(lines[same:min(same+6, len(lines))], "\n    ") }
	return "both: " + strings.Join(theirs[max(0, same-12):same], "\n      ") +
		"\nOTP:  " + tail(theirs) + "\nours: " + tail(ours)
}
