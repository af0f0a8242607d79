package exec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPulse(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	ticksTo := func(stopped func() bool) int {
		var p pulse
		ping, useless := p.tick(false, true, stopped)
		require.True(t, ping)
		require.False(t, useless)
		for n := 1; ; n++ {
			if ping, useless = p.tick(false, true, stopped); useless {
				return n
			}
			require.False(t, ping, "one ping is under way at most")
		}
	}
	require.Equal(t, frozenTicks, ticksTo(yes), "a frozen one")
	require.Equal(t, hangingTicks, ticksTo(no), "one that is not stopped, but says nothing for too long")

	var p pulse
	for range 100 {
		ping, useless := p.tick(false, false, yes)
		require.False(t, ping || useless, "nothing depends on it")
	}
	for n := range 100 { // it answers late, each time
		ping, useless := p.tick(n%frozenTicks == 0, true, yes)
		require.Equal(t, n%frozenTicks == 0, ping)
		require.False(t, useless, n)
	}
}
