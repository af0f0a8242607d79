package exec

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestWhatIsToldOfAKill(t *testing.T) {
	g := &guardian{trees: map[string]*guarded{"n1.1.1": {exited: true}}, killed: make(map[identity]bool)}
	sudo := row(7, 1, 7)
	sudo.name = "sudo"
	stuck := victim{proc: sudo, tree: "n1.1.1", err: unix.EPERM}
	require.EqualError(t, g.account(stuck), "process 7 (sudo) of n1.1.1 cannot be killed: operation not permitted: kill it as root")
	for range 100 {
		g.forget(table{7: sudo})
		require.NoError(t, g.account(stuck), "once")
	}
	require.Equal(t, 1, g.trees["n1.1.1"].leftovers)
	g.forget(table{})
	require.Empty(t, g.killed)

	require.NoError(t, g.account(victim{proc: row(8, 1, 8), tree: "n1.1.1"}), "of a tree: its exit counts it")
	require.ErrorContains(t, g.account(victim{proc: row(9, 1, 9), tree: strayTree}), "stray")
}

func TestBackOff(t *testing.T) {
	var pause time.Duration
	var got []time.Duration
	for range 7 {
		pause = backOff(pause, 10*time.Millisecond)
		got = append(got, pause/time.Millisecond)
	}
	require.Equal(t, []time.Duration{50, 100, 200, 400, 800, 1000, 1000}, got)
	require.Zero(t, backOff(pause, steadyTime))
}
