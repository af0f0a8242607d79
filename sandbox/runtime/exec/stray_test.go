package exec_test

import (
	"fmt"
	osexec "os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// hidden is a program with a daemon that nothing gives away but its brand: it
// has no environment, a session of its own and no parent. It prints its pid.
const hidden = `env -i bash -c "setsid -f sh -c 'echo \$\$; exec sleep 1000' & exit"; sleep 1000`

// pidOf waits for the one line of hidden.
func pidOf(t *testing.T, log *sandbox.Log) int {
	t.Helper()
	eventually(t, "it runs", func() bool { return len(lines(t, log)) == 1 })
	pid, err := strconv.Atoi(lines(t, log)[0])
	require.NoError(t, err)
	return pid
}

// foreign starts a child of whoever embeds the runtime, in a session of its own.
func foreign(t *testing.T) int {
	t.Helper()
	cmd := osexec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func TestHiddenDaemonDiesWithItsGuardian(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	before := foreign(t)
	task := sh(hidden)
	p := start(t, r, task)
	pid := pidOf(t, task.Log)
	later := foreign(t)
	guardian, _ := r.Guardian()
	require.NoError(t, syscall.Kill(guardian, syscall.SIGKILL))
	require.Equal(t, memdb.CauseLost, exit(t, p).Cause)
	requireGone(t, []int{pid})
	require.True(t, alive(before) && alive(later), "other children of this process are none of the runtime's business")
}

// A guardian that another runtime in this process has started is foreign as well.
func TestGuardiansOfOneProcessAreApart(t *testing.T) {
	one, two := startRuntime(t, exec.Config{}), startRuntime(t, exec.Config{})
	lost, kept := sh(hidden), sh(hidden)
	p, q := start(t, one, lost), start(t, two, kept)
	stray, other := pidOf(t, lost.Log), pidOf(t, kept.Log)
	guardian, _ := one.Guardian()
	require.NoError(t, syscall.Kill(guardian, syscall.SIGKILL))
	exit(t, p)
	require.False(t, alive(stray))
	require.True(t, alive(other) && alive(q.OSPID()))
}

func TestHiddenDaemonIsOfItsTree(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	other := start(t, r, sh("sleep 1000"))
	task := sh(hidden)
	p := start(t, r, task)
	pid := pidOf(t, task.Log)
	// The end of another program makes the guardian look around, twice.
	require.NoError(t, other.Kill(t.Context()))
	exit(t, start(t, r, sh("true")))
	require.True(t, alive(pid), "its program lives")
	require.NoError(t, p.Kill(t.Context()))
	require.False(t, alive(pid))
}

// A process that hides even its brand is nobody's, and is killed as that; the
// log says so.
func TestStrayIsKilledAndTold(t *testing.T) {
	r, log := startLoggedRuntime(t, exec.Config{})
	task := sh(strings.Replace(hidden, "setsid -f", "setsid -f prlimit --rttime=1000000:1000000", 1))
	start(t, r, task)
	pid := pidOf(t, task.Log)
	eventually(t, "it is killed", func() bool { return !alive(pid) })
	eventually(t, "it is told", func() bool { return len(log.lines("as a stray")) == 1 })
	require.Contains(t, log.lines("as a stray")[0], fmt.Sprintf("process %d (", pid))
}

// What is left when a node and both its helpers are killed in the same instant is
// killed when the node comes back.
func TestLeftoversOfAFormerLife(t *testing.T) {
	name := newName()
	node := startStandInNode(t, name, 1)
	startStandInNode(t, name+"x", 1)
	requireLasting(t, name)
	requireLasting(t, name+"x")
	// Who is frozen sees nothing of the others' deaths.
	require.NoError(t, node.Process.Signal(syscall.SIGSTOP))
	for _, pid := range []int{node.keeper, node.guardian} {
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	}
	for _, pid := range []int{node.guardian, node.keeper} {
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		eventually(t, "it is dead", func() bool { return !alive(pid) })
	}
	node.kill(t)
	require.NotEmpty(t, marked(name+".1."), "a limit of the operating system, else this test tests nothing")

	log := startStandInNode(t, name, 2).log
	require.Empty(t, marked(name+".1."), "gone before the first program is started: %s", log.lines(""))
	eventually(t, "it is told", func() bool { return len(log.lines("former life")) == 1 })
	require.NotEmpty(t, marked(name+"x."), "another node's programs are left alone")
}

// A node of the same name, in another cluster on this machine, keeps its programs.
func TestNamesakeKeepsItsPrograms(t *testing.T) {
	name := newName()
	startStandInNode(t, name, 1)
	requireLasting(t, name)
	log := startStandInNode(t, name, 2).log
	require.NotEmpty(t, marked(name+".1."))
	require.Empty(t, log.lines("former life"))
}
