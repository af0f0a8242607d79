package exec_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// treeOfFour starts a child, one in a session of its own, and one that was
// double-forked; it prints the pids of all four and a line "ready".
const treeOfFour = `echo $$
sleep 1000 & echo $!
setsid sh -c 'echo $$; exec sleep 1000' &
(setsid sh -c 'echo $$; exec sleep 1000' &)
while [ "$(jobs -p | wc -l)" -lt 1 ]; do :; done
sleep 1000`

func TestExitCodesAndSignals(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	for _, tt := range []struct {
		script string
		want   memdb.Exit
	}{
		{"exit 0", memdb.Exit{Cause: memdb.CauseExited}},
		{"exit 7", memdb.Exit{Cause: memdb.CauseExited, Code: 7}},
		{"kill -TERM $$", memdb.Exit{Cause: memdb.CauseSignaled, Code: 143, Signal: "SIGTERM"}},
		{"kill -KILL $$", memdb.Exit{Cause: memdb.CauseSignaled, Code: 137, Signal: "SIGKILL"}},
		{"sleep 1000 & sleep 1000 & exit 3", memdb.Exit{
			Cause: memdb.CauseExited, Code: 3, Detail: "it left 2 processes behind, which were killed",
		}},
	} {
		t.Run(tt.script, func(t *testing.T) {
			task := sh(tt.script)
			got := exit(t, start(t, r, task))
			require.WithinDuration(t, time.Now(), got.At, patience)
			got.At = time.Time{}
			require.Equal(t, tt.want, got)
			require.Empty(t, marked(task.PID))
		})
	}
}

func TestOutputAndEnvironment(t *testing.T) {
	t.Setenv("NODE_SECRET", "hidden")
	r := startRuntime(t, exec.Config{})
	task := sh(`env | sort; pwd; echo oops >&2; printf 'no end'`)
	task.Env = map[string]string{"A": "b c"}
	exit(t, start(t, r, task))
	got := lines(t, task.Log)
	require.Subset(t, got, []string{"A=b c", "GLASSBOX_PID=" + task.PID, "PATH=" + exec.DefaultPath, "/", "oops", "no end"})
	require.NotContains(t, strings.Join(got, "\n"), "NODE_SECRET")
	entries, _, _, err := task.Log.Read(t.Context(), 0, 0, false)
	require.NoError(t, err)
	for _, e := range entries {
		require.Equal(t, e.Line == "oops", e.Stream == sandbox.Stderr)
		require.Equal(t, task.PID, e.PID)
	}
}

func TestDescriptorsDoNotLeak(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	task := sh(`ls /proc/self/fd | tr '\n' ' '`)
	exit(t, start(t, r, task))
	require.Equal(t, []string{"0 1 2 3 "}, lines(t, task.Log), "3 is ls's own")
}

func TestSignalsAreNotIgnoredInPrograms(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	task := sh(`grep -E 'SigIgn|SigBlk' /proc/self/status`)
	exit(t, start(t, r, task))
	for _, line := range lines(t, task.Log) {
		require.Equal(t, "0000000000000000", strings.Fields(line)[1], line)
	}
}

// A program that became root could not be killed by a guardian that is not.
func TestProgramsGainNoPrivileges(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	task := sh(`grep NoNewPrivs /proc/self/status`)
	exit(t, start(t, r, task))
	require.Equal(t, []string{"NoNewPrivs:\t1"}, lines(t, task.Log))
}

// Whatever bytes they are made of: as large as a spec may have them.
func TestLargeArguments(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	const size = 96 << 10
	for _, char := range []string{"x", "&", "\x01", "\\"} {
		task := sh(`printf %s "$1" | wc -c`)
		task.Exec = append(task.Exec, "sh", strings.Repeat(char, size-30))
		exit(t, start(t, r, task))
		require.Equal(t, []string{strconv.Itoa(size - 30)}, lines(t, task.Log), "%q", char)
	}
	task := sh(`echo $#`)
	task.Exec = append(task.Exec, strings.Split(strings.Repeat("\x01,", size-30), ",")...)
	exit(t, start(t, r, task))
	require.Equal(t, []string{strconv.Itoa(size - 30)}, lines(t, task.Log), "one byte each, and the last none")
}

func TestNoMoreOpenFiles(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	exit(t, start(t, r, sh("true")))
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	t.Cleanup(func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) })
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: limit.Max}))
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			require.ErrorIs(t, err, unix.EMFILE)
			break
		}
		defer f.Close()
	}
	_, err := r.Start(t.Context(), sh("true"))
	require.Equal(t, errs.Internal, errs.KindOf(err))
	require.ErrorContains(t, err, "ulimit -n")
}

func TestStartErrors(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	exit(t, start(t, r, sh("true")))
	dir := t.TempDir()
	plain, noLoader, garbage := filepath.Join(dir, "plain"), filepath.Join(dir, "no-loader"), filepath.Join(dir, "garbage")
	require.NoError(t, os.WriteFile(plain, nil, 0o644))
	require.NoError(t, os.WriteFile(noLoader, []byte("#!/no/such/shell\n"), 0o755))
	require.NoError(t, os.WriteFile(garbage, []byte("garbage"), 0o755))
	for _, tt := range []struct {
		name string
		task sandbox.Task
		want string
	}{
		{"nothing", sandbox.Task{}, "no program is named"},
		{"unknown name", sandbox.Task{Exec: []string{"no-such-program"}}, `program "no-such-program" was not found in PATH ` + exec.DefaultPath},
		{"own path", sandbox.Task{Exec: []string{"sh"}, Env: map[string]string{"PATH": dir + ":relative"}}, "was not found in PATH " + dir},
		{"unfit in path", sandbox.Task{Exec: []string{"plain"}, Env: map[string]string{"PATH": dir}}, "is a directory|is not executable"},
		{"absent", sandbox.Task{Exec: []string{"/no/such"}}, `program "/no/such" does not exist`},
		{"below a file", sandbox.Task{Exec: []string{plain + "/x"}}, "cannot be looked at"},
		{"relative", sandbox.Task{Exec: []string{"./x"}}, "relative path: make it absolute"},
		{"directory", sandbox.Task{Exec: []string{dir}}, "is a directory"},
		{"no loader", sandbox.Task{Exec: []string{noLoader}}, "interpreter or loader"},
		{"garbage", sandbox.Task{Exec: []string{garbage}}, "needs a #! line"},
		{"dir absent", sandbox.Task{Exec: []string{"sh"}, Dir: "/no/such"}, `working directory "/no/such" cannot be used`},
		{"dir relative", sandbox.Task{Exec: []string{"sh"}, Dir: "x"}, "is relative"},
		{"dir a file", sandbox.Task{Exec: []string{"sh"}, Dir: plain}, "is no directory"},
		{"too large", sandbox.Task{Exec: []string{"true", strings.Repeat("x", 200<<10)}}, "too many arguments"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.task.PID, tt.task.Isolation = newID(), sandbox.IsolationNone
			_, err := r.Start(t.Context(), tt.task)
			require.Error(t, err)
			require.Regexp(t, strings.ReplaceAll(tt.want, "/", "[/]"), err.Error())
			require.Equal(t, errs.BadSpec, errs.KindOf(err))
			require.True(t, errs.From(err).Definite())
		})
	}
}

func TestPIDInUse(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	task := sh("sleep 1000")
	start(t, r, task)
	_, err := r.Start(t.Context(), task)
	require.Equal(t, errs.Conflict, errs.KindOf(err))
}

// pidsOf waits for the four lines of treeOfFour.
func pidsOf(t *testing.T, log *sandbox.Log) []int {
	t.Helper()
	eventually(t, "four processes run", func() bool { return len(lines(t, log)) == 4 })
	var pids []int
	for _, line := range lines(t, log) {
		pid, err := strconv.Atoi(line)
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	return pids
}

func requireGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		require.False(t, alive(pid), "process %d lives", pid)
	}
}

func TestKillEndsTheWholeTree(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	task := sh(treeOfFour)
	p := start(t, r, task)
	pids := pidsOf(t, task.Log)
	require.Equal(t, p.OSPID(), pids[0])
	require.NoError(t, p.Kill(t.Context()))
	requireGone(t, pids)
	require.Empty(t, marked(task.PID))
	require.Equal(t, memdb.CauseKilled, p.Exit().Cause)
	require.Equal(t, "SIGKILL", p.Exit().Signal)
	require.Error(t, p.Signal(syscall.SIGTERM))
	require.NoError(t, p.Kill(t.Context()), "killing twice is no error")
}

// A descendant that threw its mark away, left its session and lost its parents
// is found by what the guardian saw of it, or killed as nobody's.
func TestNothingEscapesWithoutItsMark(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	task := sh(`(env -i setsid sh -c 'echo $$; exec sleep 1000' &) ; sleep 1000`)
	p := start(t, r, task)
	eventually(t, "it runs", func() bool { return len(lines(t, task.Log)) == 1 })
	pid, err := strconv.Atoi(lines(t, task.Log)[0])
	require.NoError(t, err)
	require.NoError(t, p.Kill(t.Context()))
	require.False(t, alive(pid))
}

func TestStopGivesTimeAndThenKills(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	polite := sh(`trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done`)
	stubborn := sh(`trap '' TERM; echo ready; while :; do sleep 0.01; done`)
	for _, task := range []sandbox.Task{polite, stubborn} {
		p := start(t, r, task)
		eventually(t, "ready", func() bool { return len(lines(t, task.Log)) > 0 })
		grace := patience
		if task.PID == stubborn.PID {
			grace = 50 * time.Millisecond
		}
		p.Stop(grace)
		require.Equal(t, memdb.CauseKilled, exit(t, p).Cause)
		require.Empty(t, marked(task.PID))
	}
	require.Contains(t, lines(t, polite.Log), "bye")
}

func TestStopWithoutGraceKillsAtOnce(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	p := start(t, r, sh("sleep 1000"))
	p.Stop(0)
	require.Equal(t, "SIGKILL", exit(t, p).Signal)
}

func TestFloodIsBounded(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	task := sh(`yes | head -c 20000000; echo; echo last; printf '%020000d' 7`)
	require.Equal(t, 0, exit(t, start(t, r, task)).Code)
	entries, _, missed, err := task.Log.Read(t.Context(), 0, 0, false)
	require.NoError(t, err)
	require.LessOrEqual(t, len(entries), sandbox.DefaultLogLines)
	require.Equal(t, uint64(10_000_000+2+2), missed+uint64(len(entries)), "all are counted; the longest is two")
	require.Equal(t, "last", entries[len(entries)-3].Line)
	require.Len(t, entries[len(entries)-2].Line, 16<<10)
	require.Len(t, entries[len(entries)-1].Line, 20000-16<<10)
}

func TestStartWithoutRun(t *testing.T) {
	r := exec.New(exec.Config{}, nil)
	_, err := r.Start(t.Context(), sh("true"))
	require.Equal(t, errs.NotReady, errs.KindOf(err))
}

func TestGuardianThatCannotBeStarted(t *testing.T) {
	r := startRuntime(t, exec.Config{Command: []string{"/no/such/guardian"}})
	var err error
	eventually(t, "an answer", func() bool {
		_, err = r.Start(t.Context(), sh("true"))
		return errs.KindOf(err) != errs.NotReady
	})
	require.Equal(t, errs.NodeUnavailable, errs.KindOf(err))
	require.ErrorContains(t, err, "/no/such/guardian")
}

func TestEndOfRunLeavesNothing(t *testing.T) {
	r := exec.New(exec.Config{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	task := sh(treeOfFour)
	p := start(t, r, task)
	pids := pidsOf(t, task.Log)
	guardian, ok := r.Guardian()
	require.True(t, ok)
	cancel()
	require.NoError(t, <-done)
	exit(t, p)
	requireGone(t, append(pids, guardian))
}
