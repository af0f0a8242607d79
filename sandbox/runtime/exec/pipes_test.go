package exec_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// talking is a task whose standard output goes to a channel, whole, at its end.
func talking(script string) (sandbox.Task, <-chan string) {
	task, said := sh(script), make(chan string, 1)
	task.Stdout = func(out io.Reader) {
		var all bytes.Buffer
		_, _ = io.Copy(&all, out) // it ends with an error when a writer has got away
		said <- all.String()
	}
	return task, said
}

func TestStdinAndStdoutOfAProgram(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	task, said := talking(`echo log >&2; while read -r line; do echo "got $line"; done`)
	p := start(t, r, task)
	_, err := io.WriteString(p.Stdin(), "one\ntwo\n")
	require.NoError(t, err)
	require.NoError(t, p.Stdin().Close())
	require.Equal(t, memdb.CauseExited, exit(t, p).Cause)
	require.Equal(t, "got one\ngot two\n", <-said)
	require.Equal(t, []string{"log"}, lines(t, task.Log), "only its standard error is its log")
	_, err = p.Stdin().Write([]byte("three\n"))
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestAProgramThatDoesNotReadIsNotWaitedForLongerThanTold(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	task, _ := talking("sleep 1000")
	p := start(t, r, task)
	require.NoError(t, p.Stdin().SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	n, err := p.Stdin().Write(make([]byte, 1<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Positive(t, n)
	require.NoError(t, p.Kill(t.Context()))
}

func TestWithoutATalkStandardInputIsEmpty(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	task := sh("cat; echo end")
	p := start(t, r, task)
	require.Nil(t, p.Stdin())
	exit(t, p)
	require.Equal(t, []string{"end"}, lines(t, task.Log))
}

// What nobody reads any more must not block the program.
func TestOutputThatIsLeftUnreadIsDropped(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	task := sh("head -c 1000000 /dev/zero; echo done >&2")
	task.Stdout = func(io.Reader) {}
	p := start(t, r, task)
	require.Equal(t, 0, exit(t, p).Code)
	require.Equal(t, []string{"done"}, lines(t, task.Log))
}

func TestLimitsOfOutputAndTime(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	run := func(script string, l sandbox.Limits) memdb.Exit {
		task := sh(script)
		task.Limits = &l
		return exit(t, start(t, r, task))
	}
	e := run("yes & yes >&2", sandbox.Limits{OutputMB: 2})
	require.Equal(t, memdb.CauseOutputLimit, e.Cause)
	require.Equal(t, "it printed more than 2 MiB, its limit output_mb", e.Detail)
	require.Equal(t, 137, e.Code)

	e = run("sleep 1000", sandbox.Limits{TimeS: 1})
	require.Equal(t, memdb.CauseTimeout, e.Cause)
	require.Equal(t, "it ran for 1s, its limit time_s", e.Detail)

	e = run("head -c 2097152 /dev/zero; exit 3", sandbox.Limits{OutputMB: 2, TimeS: 1000})
	require.Equal(t, memdb.CauseExited, e.Cause, "it stayed within them")
	require.Equal(t, 3, e.Code)
}

// A program's standard output that a conversation takes counts as well.
func TestTheLimitOfOutputHoldsForATalk(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	task, said := talking("yes")
	task.Limits = &sandbox.Limits{OutputMB: 1}
	require.Equal(t, memdb.CauseOutputLimit, exit(t, start(t, r, task)).Cause)
	require.Greater(t, len(<-said), 1<<20)
}

func TestUsageOfATree(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	other := start(t, r, sh("sleep 1000 & sleep 1000 & wait"))
	// One in a session of its own and without the mark, whose parent has ended;
	// before that, half a second of computing by a child that has ended.
	task := sh(`sh -c 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done'
		exec 7</dev/null 8</dev/null
		(setsid env -i sleep 1000 &)
		echo ready; sleep 1000`)
	p := start(t, r, task)
	eventually(t, "it is ready", func() bool { return len(lines(t, task.Log)) == 1 })
	var use sandbox.Usage
	eventually(t, "all three are seen", func() bool {
		var err error
		use, err = p.Usage()
		require.NoError(t, err)
		return use.Processes == 3
	})
	require.Equal(t, 3, use.Threads)
	require.GreaterOrEqual(t, use.Files, 3*3+2*3, "the three standard ones and the two others of each")
	require.Greater(t, use.RSSBytes, int64(3*os.Getpagesize()))
	require.GreaterOrEqual(t, use.CPUMS, int64(50), "the child that has ended counts")
	use, err := other.Usage()
	require.NoError(t, err)
	require.Equal(t, 3, use.Processes)

	require.NoError(t, p.Kill(t.Context()))
	_, err = p.Usage()
	require.Equal(t, errs.NotFound, errs.KindOf(err))
}

func TestSignalsReachTheProgramOnly(t *testing.T) {
	t.Parallel()
	r := startRuntime(t, exec.Config{})
	task := sh(`trap 'echo usr1' USR1; sleep 1000 & echo ready; while ! wait $!; do :; done`)
	p := start(t, r, task)
	eventually(t, "it is ready", func() bool { return strings.Join(lines(t, task.Log), "") == "ready" })
	require.NoError(t, p.Signal(syscall.SIGUSR1))
	eventually(t, "it got the signal", func() bool { return strings.Join(lines(t, task.Log), " ") == "ready usr1" })
	use, err := p.Usage()
	require.NoError(t, err)
	require.Equal(t, 2, use.Processes, "its child lives")
	require.NoError(t, p.Kill(t.Context()))
}
