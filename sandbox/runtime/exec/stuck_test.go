package exec

import (
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// socketPair makes the two ends of the guardian's socket.
func socketPair(t *testing.T) (ours, theirs *conn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	ends := make([]*conn, 2)
	for i, fd := range pair {
		ends[i], err = newConn(os.NewFile(uintptr(fd), "end"))
		require.NoError(t, err)
		t.Cleanup(func() { ends[i].unix.Close() })
	}
	return ends[0], ends[1]
}

// A guardian tells once what does not die, and its end too should it come.
func TestAGuardianTellsWhatIsStuck(t *testing.T) {
	node, end := socketPair(t)
	g := newGuardian(end)
	tree := &guarded{id: "n1.1.1", dying: true, since: time.Now().Add(-stuckTime)}
	g.trees[tree.id] = tree
	stuck := proc{identity: identity{PID: 42, Birth: 7}, name: "dd", state: 'D'}
	for range 3 {
		require.False(t, g.conclude(census{trees: map[string][]proc{tree.id: {stuck}}}, false))
	}
	m, _, err := node.recv()
	require.NoError(t, err)
	require.Equal(t, message{Op: opStuck, ID: tree.id, Error: "process 42 (dd) in state D"}, m)
	require.NoError(t, node.unix.SetReadDeadline(time.Now()))
	_, _, err = node.recv()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it is told once")
	require.Contains(t, g.trees, tree.id, "it goes on killing")
}

func TestATreeThatDiesInTimeIsNotStuck(t *testing.T) {
	node, end := socketPair(t)
	g := newGuardian(end)
	tree := &guarded{id: "n1.1.1", dying: true}
	g.tellStuck(tree, []victim{{}})
	require.NotZero(t, tree.since)
	g.tellStuck(tree, []victim{{}})
	require.NoError(t, node.unix.SetReadDeadline(time.Now()))
	_, _, err := node.recv()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestManyThatAreLeftAreCounted(t *testing.T) {
	require.Equal(t, "process 0 () in state D, process 0 () in state D, process 0 () in state D, process 0 () in state D and 2 more",
		leftText([]victim{{proc: proc{state: 'D'}}, {proc: proc{state: 'D'}}, {proc: proc{state: 'D'}}, {proc: proc{state: 'D'}}, {}, {}}))
}

// Who waits for a process that is stuck is told so, although its output is
// still open, and its end changes nothing any more.
func TestAStuckProcessIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{log: slog.New(slog.DiscardHandler), procs: make(map[string]*Process)}
		p := newProcess(l, sandbox.Task{PID: "n1.1.1"}, &holdings{})
		require.NoError(t, l.add(p))
		l.handle(message{Op: opStarted, ID: p.id, OSPID: 42})
		l.handle(message{Op: opStuck, ID: p.id, Error: "process 42 (dd) in state D"})
		<-p.Done()
		require.Equal(t, memdb.CauseStuck, p.Exit().Cause)
		require.Contains(t, p.Exit().Detail, "30s after it was killed there is still process 42 (dd) in state D")
		l.handle(message{Op: opExited, ID: p.id, Code: 1})
		l.tasks.Wait()
		require.Equal(t, memdb.CauseStuck, p.Exit().Cause)
		require.False(t, l.needed())
	})
}
