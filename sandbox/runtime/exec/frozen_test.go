package exec_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

func TestFrozenGuardianIsKilledAndReplaced(t *testing.T) {
	t.Parallel()
	r, log := startLoggedRuntime(t, exec.Config{})
	task := sh(treeOfFour)
	p := start(t, r, task)
	pids := pidsOf(t, task.Log)
	old, _ := r.Guardian()
	require.NoError(t, syscall.Kill(old, syscall.SIGSTOP))
	frozen := time.Now()

	got := exit(t, p)
	require.Equal(t, memdb.CauseLost, got.Cause)
	require.Contains(t, got.Detail, "did not answer")
	require.Greater(t, time.Since(frozen), 3*time.Second, "it is given some time")
	requireGone(t, append(pids, old))
	require.Equal(t, 0, exit(t, start(t, r, sh("true"))).Code, "a start right after finds the next guardian")
	require.Len(t, log.lines("does not answer and is killed"), 1)
}

// A start, a kill and a stop that a frozen guardian was asked for come to an end.
func TestFrozenGuardianHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	p := start(t, r, sh("sleep 1000"))
	guardian, _ := r.Guardian()
	require.NoError(t, syscall.Kill(guardian, syscall.SIGSTOP))

	starts := make(chan error)
	for range 500 { // more than its socket takes
		go func() {
			_, err := r.Start(t.Context(), sh("sleep 1000"))
			starts <- err
		}()
	}
	require.NoError(t, p.Kill(t.Context()))
	require.Equal(t, memdb.CauseKilled, p.Exit().Cause, "that is what was asked for")
	for range 500 {
		<-starts // in one way or the other
	}
}

func TestThawedGuardianIsKept(t *testing.T) {
	t.Parallel()
	r, log := startLoggedRuntime(t, exec.Config{})
	p := start(t, r, sh("sleep 1000"))
	guardian, _ := r.Guardian()
	require.NoError(t, syscall.Kill(guardian, syscall.SIGSTOP))
	<-time.After(2500 * time.Millisecond) // at least one ping and two ticks
	require.NoError(t, syscall.Kill(guardian, syscall.SIGCONT))
	<-time.After(4 * time.Second) // or it would be killed by now
	now, _ := r.Guardian()
	require.Equal(t, guardian, now)
	require.True(t, alive(p.OSPID()))
	require.Empty(t, log.lines("does not answer"))
}

// Whichever helper is frozen when the node is killed, or both, nothing is left.
func TestKilledNodeWithFrozenHelpersLeavesNothing(t *testing.T) {
	for name, pick := range map[string]func(standIn) []int{
		"guardian": func(s standIn) []int { return []int{s.guardian} },
		"keeper":   func(s standIn) []int { return []int{s.keeper} },
		"both":     func(s standIn) []int { return []int{s.guardian, s.keeper} },
	} {
		t.Run(name, func(t *testing.T) {
			name := newName()
			node := startStandInNode(t, name, 1)
			requireLasting(t, name)
			for _, pid := range pick(node) {
				require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
			}
			node.kill(t)
			eventually(t, "the helpers end", func() bool { return !alive(node.guardian) && !alive(node.keeper) })
			require.Empty(t, marked(name+"."))
		})
	}
}

// A guardian that is killed while its keeper is frozen is not waited for.
func TestFrozenKeeperHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	task := sh(treeOfFour)
	p := start(t, r, task)
	pids := pidsOf(t, task.Log)
	guardian, _ := r.Guardian()
	keeper, _ := r.Keeper()
	require.NoError(t, syscall.Kill(keeper, syscall.SIGSTOP))
	require.NoError(t, syscall.Kill(guardian, syscall.SIGKILL))
	require.Equal(t, memdb.CauseLost, exit(t, p).Cause)
	requireGone(t, append(pids, keeper))
}
