package exec

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLeftovers(t *testing.T) {
	named := func(p proc, name string) proc { p.name = name; return p }
	zombie := row(66, 1, 66)
	zombie.dead = true
	dying := named(row(90, 1, 90), guardianName)
	dying.dying = true
	young := row(70, 1, 70)
	young.Birth = 9
	tab := table{}
	for _, p := range []proc{
		row(1, 0, 1), row(5, 1, 5), // init, and this process
		named(row(10, 1, 10), guardianName), row(20, 10, 20), row(21, 20, 20), // of a living guardian, another node's
		row(30, 5, 30), row(31, 30, 30), // this process started it
		row(40, 1, 40), row(41, 40, 40), // nobody's
		row(45, 0, 45),         // nobody's, in a container
		dying, row(91, 90, 91), // of a guardian that has just been killed
		row(50, 49, 50), row(51, 50, 50), // the way up was lost
		young, row(71, 70, 70), // its parent's number is another's now
		zombie,
		row(80, 1, 80), // nobody's, but not of this node
	} {
		tab[p.PID] = p
	}
	left := func(self int) []int {
		var found []int
		for _, v := range leftovers(tab, self, func(pid int) bool { return pid > 10 && pid != 80 && pid != 90 }) {
			found = append(found, v.PID)
		}
		return found
	}
	require.ElementsMatch(t, []int{40, 41, 45, 70, 91}, left(5))
	require.ElementsMatch(t, []int{30, 31, 45, 70, 91}, left(41), "never itself, nor what it descends from")
}

func TestGuardianNameFits(t *testing.T) { require.LessOrEqual(t, len(guardianName), 15) }

func TestAncestryOfThisProcess(t *testing.T) {
	tab, err := readTable()
	require.NoError(t, err)
	line := tab.ancestry(os.Getpid())
	require.Equal(t, os.Getppid(), line[1].PID)
	require.True(t, tab.held(line[0], os.Getpid()))
	require.False(t, tab.held(line[0], -1), "no guardian is above a test")
}
