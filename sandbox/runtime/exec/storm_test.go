package exec_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// TestDaemonsThatEndAtOnce: a program that leaves thousands of ended daemons to the
// guardian holds up neither the start of another one nor its own end.
func TestDaemonsThatEndAtOnce(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			need(t, r, asked[level]...)
			var storms []sandbox.Process
			for range 2 {
				storm := sh(`for i in 1 2; do (while :; do setsid -f true; done) & done; echo begun; wait`)
				storm.Isolation, storm.Sandbox = level, storm.PID
				storms = append(storms, start(t, r, storm))
			}
			for range 20 { // while it goes on
				began := time.Now()
				exit(t, start(t, r, sh("true")))
				require.Less(t, time.Since(began), patience)
			}
			for _, storm := range storms {
				began := time.Now()
				require.NoError(t, storm.Kill(t.Context()))
				t.Logf("gone after %v", time.Since(began).Round(time.Millisecond))
			}
		})
	}
}

// TestOrphansThatNothingTells: a confined program whose orphans have no environment and a
// session of their own holds up nobody's end: its user and its cgroup tell
// whose they are.
func TestOrphansThatNothingTells(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	for _, level := range confinedLevels {
		t.Run(level, func(t *testing.T) {
			need(t, r, asked[level]...)
			if !unconfined(t, r) {
				t.Skip("the node does not run as root: its programs have no user of their own")
			}
			token := newName()
			storm := sh(`while :; do env -i setsid -f bash -c 'ulimit -R 777; exec -c -a ` + token + ` sleep 3'; done`)
			storm.Exec[0], storm.Isolation, storm.Sandbox = "bash", level, storm.PID
			p := start(t, r, storm)
			eventually(t, "there are orphans", func() bool { return withToken(token, 0) > 20 })
			for range 5 {
				other := start(t, r, sh("sleep 1000"))
				began := time.Now()
				require.NoError(t, other.Kill(t.Context()))
				require.Less(t, time.Since(began), time.Second, "it is not waited for what is not its own")
			}
			require.NoError(t, p.Kill(t.Context()))
			require.Zero(t, withToken(token, 0))
		})
	}
}
