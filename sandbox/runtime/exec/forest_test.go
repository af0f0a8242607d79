package exec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The guardian is 10; tree "a" has root 20, tree "b" root 30.
func planted(marks map[int]string) *forest {
	f := newForest(10, func(p proc) string { return marks[p.PID] })
	f.plant("a", identity{20, 1})
	f.plant("b", identity{30, 1})
	return f
}

func tableOf(procs ...proc) table {
	t := table{10: {identity: identity{10, 1}, parent: 5, session: 10}}
	for _, p := range procs {
		t[p.PID] = p
	}
	return t
}

func row(pid, parent, session int) proc {
	return proc{identity: identity{pid, 1}, parent: parent, session: session}
}

func pids(procs []proc) []int {
	var ids []int
	for _, p := range procs {
		ids = append(ids, p.PID)
	}
	return ids
}

func TestForestAttributes(t *testing.T) {
	f := planted(map[int]string{23: "a", 24: "gone", 25: "b"})
	roots := []proc{row(20, 10, 20), row(30, 10, 30)}
	c := f.count(tableOf(append(roots,
		row(21, 20, 20), row(22, 10, 20), // a child; an orphan told by its session
		row(23, 10, 99), row(24, 10, 98), // told by its mark; of a tree that is gone
		row(26, 24, 24), // a stray's child
		row(40, 5, 20),  // elsewhere, in a session of the same number
	)...))
	require.ElementsMatch(t, []int{20, 21, 22, 23}, pids(c.trees["a"]))
	require.ElementsMatch(t, []int{30}, pids(c.trees["b"]))
	require.ElementsMatch(t, []int{24, 26}, pids(c.strays))
	require.Equal(t, []identity{{23, 1}}, f.elusive(c))
}

func TestForestRemembers(t *testing.T) {
	f := planted(nil)
	f.count(tableOf(row(20, 10, 20), row(21, 20, 21)))
	c := f.count(tableOf(row(20, 10, 20), row(21, 10, 21), row(22, 10, 21)))
	require.ElementsMatch(t, []int{20, 21, 22}, pids(c.trees["a"]), "a known orphan, and one of its session")
	reborn := row(21, 10, 21)
	reborn.Birth = 2
	c = f.count(tableOf(row(20, 10, 20), reborn))
	require.Equal(t, []int{21}, pids(c.strays), "the same pid, but another process")
	f.fell("a")
	c = f.count(tableOf(row(22, 10, 21)))
	require.Equal(t, []int{22}, pids(c.strays))
}

func TestParseStat(t *testing.T) {
	line := func(name, state, threads string) []byte {
		return []byte("7 (" + name + ") " + state + " 3 7 6 0 -1 0 0 0 0 0 0 0 0 0 20 0 " + threads + " 0 4711 0 0")
	}
	p, err := parseStat(7, line("a) R (b", "S", "1"))
	require.NoError(t, err)
	require.Equal(t, proc{identity: identity{7, 4711}, name: "a) R (b", parent: 3, session: 6, state: 'S'}, p)
	p, _ = parseStat(7, line("x", "T", "1"))
	require.True(t, p.stopped)
	p, _ = parseStat(7, line("x", "Z", "1"))
	require.True(t, p.dead)
	p, _ = parseStat(7, line("x", "Z", "2"))
	require.False(t, p.dead, "its other threads live")
	for _, bad := range []string{"", "7 (x", "7 (x) S 1", string(line("x", "S", "?"))} {
		_, err = parseStat(7, []byte(bad))
		require.Error(t, err, bad)
	}
}

func TestMarkIn(t *testing.T) {
	require.Equal(t, "n1.1.1", markIn([]byte("A=1\x00GLASSBOX_PID=n1.1.1\x00")))
	require.Empty(t, markIn([]byte("XGLASSBOX_PID=n1.1.1\x00")))
}
