package exec

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestBrandBelow(t *testing.T) {
	for n := range 1000 {
		node := fmt.Sprintf("n%d", n)
		outer := brandBelow(math.MaxUint64, node)
		require.Less(t, uint64(outer), uint64(1)<<62)
		require.NotZero(t, outer.family())
		require.Equal(t, familyOf(node), outer.family(), "known again after a restart")
		inner := brandBelow(uint64(outer)-7, node) // a node that is a program of its namesake
		require.Less(t, inner.family(), outer.family())
		require.NotZero(t, inner.family())
		require.Equal(t, inner.family(), (inner - 1_000_000).family())
	}
	require.NotEqual(t, brandBelow(math.MaxUint64, ""), brandBelow(math.MaxUint64, ""), "without a name, by chance")
	require.Equal(t, unbranded, brandBelow(200_000, "n1"), "a limit that somebody means")
}

// What falls to the node is told by its brand, and nothing else is.
func TestBrandTellsOrphans(t *testing.T) {
	l := &link{brand: brandBelow(math.MaxUint64, "n1")}
	f := l.orphanage(map[string]*Process{"n1.1.1": {brand: l.brand - 1}}, nil)
	orphan := exec.Command("sleep", "1000")
	orphan.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, orphan.Start())
	defer orphan.Wait()
	defer orphan.Process.Kill()
	shows := func(b brand) string {
		limit := unix.Rlimit{Cur: uint64(b), Max: uint64(b)}
		require.NoError(t, unix.Prlimit(orphan.Process.Pid, unix.RLIMIT_RTTIME, &limit, nil))
		tab, err := readTable()
		require.NoError(t, err)
		c := f.count(tab)
		f.known = map[identity]string{}
		for tree, members := range c.trees {
			for _, p := range members {
				require.Equal(t, orphan.Process.Pid, p.PID)
				return tree
			}
		}
		return ""
	}
	require.Empty(t, shows(l.brand+1), "of another family")
	require.Equal(t, "n1.1.1", shows(l.brand-1))
	require.Equal(t, strayTree, shows(l.brand-2), "of a start that was not answered")
	require.Empty(t, shows(200_000))
}

func TestBrandIn(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \n"
	require.Equal(t, brand(12), brandIn([]byte(head+"Max realtime priority     7      8      \nMax realtime timeout      11     12     us        \n")))
	require.Equal(t, unbranded, brandIn([]byte(head+"Max realtime timeout      unlimited            unlimited            us        \n")))
	require.Equal(t, unbranded, brandIn([]byte("Max realtime timeout")))
	require.Equal(t, unbranded, brandIn(nil))
	require.Equal(t, readBrand(os.Getppid()), readBrand(os.Getpid()), "a child has its parent's")
}
