package exec_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// ofRoot are primitives that only root has.
var ofRoot = []isolation.Primitive{isolation.UID, isolation.MemoryLimit, isolation.CPULimit, isolation.PidsLimit}

// need skips a test that needs a primitive which this machine lacks, and says why;
// with GLASSBOX_REQUIRE set it fails, unless nobody but root could have it.
func need(t testing.TB, r *exec.Runtime, primitives ...isolation.Primitive) {
	t.Helper()
	report, err := r.Isolation(t.Context())
	require.NoError(t, err)
	for _, lack := range report.Missing {
		for _, p := range primitives {
			if lack.Name != p {
				continue
			}
			if os.Getenv("GLASSBOX_REQUIRE") != "" && (os.Geteuid() == 0 || !slices.Contains(ofRoot, p)) {
				require.FailNow(t, "GLASSBOX_REQUIRE is set, and this machine lacks "+string(p), lack.Why)
			}
			t.Skipf("this machine lacks %s: %s", p, lack.Why)
		}
	}
}

// asked are the primitives that a level needs here.
var asked = map[string][]isolation.Primitive{
	sandbox.IsolationProcess:    {isolation.Seccomp, isolation.Landlock},
	sandbox.IsolationNamespaces: {isolation.Seccomp, isolation.Namespaces},
}

var confinedLevels = []string{sandbox.IsolationProcess, sandbox.IsolationNamespaces}

// attempting is a task that tries something.
func attempting(level string, args ...string) sandbox.Task {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	id := newID()
	return sandbox.Task{
		PID: id, Exec: append([]string{exe, "attempt"}, args...), Log: sandbox.NewLog(0, 0), Isolation: level, Sandbox: id,
		Env: map[string]string{"GORACE": "atexit_sleep_ms=0"},
	}
}

// said runs a task to its end and returns what it printed on standard output: on the
// other a test binary says things of its own when coverage is measured.
func said(t *testing.T, r *exec.Runtime, task sandbox.Task) string {
	t.Helper()
	exit(t, start(t, r, task))
	entries, _, _, err := task.Log.Read(t.Context(), 0, 0, false)
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		if e.Stream == sandbox.Stdout {
			out = append(out, e.Line)
		}
	}
	return strings.Join(out, "\n")
}

const (
	notPermitted = "operation not permitted"
	denied       = "permission denied"
	absent       = "no such file or directory"
)

// TestEscapes tries what confinement is to prevent, first without any, so that
// each attempt is known to be able to succeed, or at least to get further.
func TestEscapes(t *testing.T) {
	own, other := listen(t), listen(t)
	r := startRuntime(t, exec.Config{Ports: func() []int { return []int{own} }})
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "file"), nil, 0o666))
	for dir := outside; dir != os.TempDir(); dir = filepath.Dir(dir) { // only confinement stands before it
		require.NoError(t, os.Chmod(dir, 0o777))
	}
	abstract := "glassbox-" + newID()
	l, err := net.Listen("unix", "@"+abstract)
	require.NoError(t, err)
	defer l.Close()

	victim := sandbox.Task{PID: newID(), Exec: []string{"sleep", "1000"}, Isolation: sandbox.IsolationProcess, Sandbox: "victim"}
	need(t, r, asked[sandbox.IsolationProcess]...)
	other1 := strconv.Itoa(start(t, r, victim).OSPID())
	ownPort, otherPort := strconv.Itoa(own), strconv.Itoa(other)

	for _, tt := range []struct {
		name string
		args []string
		// cause is why it fails, by level. One for both if there is one.
		process, namespaces string
		// control is what the attempt says without confinement: not the cause, at
		// least. "" is succeeded.
		control string
		needs   []isolation.Primitive
	}{
		{name: "core-pattern", process: denied, namespaces: denied},
		{name: "shadow", process: denied, namespaces: denied},
		{name: "write-system", process: denied, namespaces: denied},
		{name: "device", process: denied, namespaces: absent},
		{name: "read-outside", args: []string{outside + "/file"}, process: denied, namespaces: absent},
		{name: "write-outside", args: []string{outside + "/file"}, process: denied, namespaces: absent},
		{name: "create-outside", args: []string{outside}, process: denied, namespaces: absent},
		{name: "kill-other", args: []string{other1}, process: notPermitted, namespaces: "no such process"},
		{name: "memory-of-other", args: []string{other1}, process: denied, namespaces: absent},
		{name: "files-of-other", args: []string{other1}, process: denied, namespaces: absent},
		{name: "environ-of-other", args: []string{other1}, process: denied, namespaces: absent},
		{name: "ptrace", args: []string{other1}, process: notPermitted, namespaces: notPermitted},
		{name: "read-memory", process: notPermitted, namespaces: notPermitted},
		{name: "become-root", process: notPermitted, namespaces: "invalid argument"},
		{name: "setuid-program", process: "no privileges", namespaces: "no privileges"},
		{name: "vsock", process: notPermitted, namespaces: notPermitted, control: "any"},
		{name: "crypto-socket", process: notPermitted, namespaces: notPermitted, control: "any"},
		{name: "packet-socket", process: notPermitted, namespaces: notPermitted, control: "any"},
		{name: "io-uring", process: notPermitted, namespaces: notPermitted, control: "bad address"},
		{name: "keyctl", process: notPermitted, namespaces: notPermitted},
		{name: "userfaultfd", process: notPermitted, namespaces: notPermitted},
		{name: "bpf", process: notPermitted, namespaces: notPermitted, control: "any"},
		{name: "perf", process: notPermitted, namespaces: notPermitted, control: "any"},
		{name: "user-namespace", process: notPermitted, namespaces: notPermitted},
		{name: "mount-namespace", process: notPermitted, namespaces: notPermitted},
		{name: "mount", process: notPermitted, namespaces: notPermitted, control: absent},
		{name: "pivot-root", process: notPermitted, namespaces: notPermitted, control: absent},
		{name: "file-handle", process: notPermitted, namespaces: notPermitted},
		{name: "kexec", process: notPermitted, namespaces: notPermitted, control: "any"},
		{name: "connect", args: []string{ownPort}, process: denied, namespaces: denied, needs: []isolation.Primitive{isolation.OwnPorts}},
		{name: "bind", args: []string{ownPort}, process: denied, namespaces: denied, needs: []isolation.Primitive{isolation.OwnPorts}},
		{name: "connect-fast-open", args: []string{ownPort}, process: notPermitted, namespaces: notPermitted},
		{name: "connect-mptcp", args: []string{ownPort}, process: notPermitted, namespaces: notPermitted, control: "any"},
		{name: "connect-mptcp-high", args: []string{ownPort}, process: notPermitted, namespaces: notPermitted, control: "any"},
		{name: "abstract-socket", args: []string{abstract}, process: notPermitted, namespaces: notPermitted, needs: []isolation.Primitive{isolation.Scope}},
	} {
		args := append([]string{tt.name}, tt.args...)
		t.Run(tt.name, func(t *testing.T) {
			need(t, r, tt.needs...)
			if _, err := os.Stat("/dev/kmsg"); tt.name == "device" && err != nil {
				t.Skip("there is no device to open")
			}
			cause := map[string]string{sandbox.IsolationProcess: tt.process, sandbox.IsolationNamespaces: tt.namespaces}
			if unconfined(t, r) {
				free := said(t, r, attempting(sandbox.IsolationNone, args...))
				switch tt.control {
				case "":
					require.Equal(t, "succeeded", free, "without confinement")
				case "any":
					require.NotContains(t, free, notPermitted, "without confinement")
				default:
					require.Contains(t, free, tt.control, "without confinement")
				}
			}
			for _, level := range confinedLevels {
				t.Run(level, func(t *testing.T) {
					need(t, r, asked[level]...)
					got := said(t, r, attempting(level, args...))
					require.Contains(t, got, "refused: ")
					require.Contains(t, got, cause[level])
				})
			}
		})
	}
	for _, level := range confinedLevels {
		t.Run("what is allowed/"+level, func(t *testing.T) {
			need(t, r, asked[level]...)
			require.Equal(t, "succeeded", said(t, r, attempting(level, "connect", otherPort)), "only the node's ports are closed")
			require.Equal(t, "succeeded", said(t, r, attempting(level, "bind", otherPort)), "only the node's ports are closed")
			task := attempting(level, "fill", "/tmp", "1")
			if level == sandbox.IsolationProcess {
				task.Exec = []string{"sh", "-c", `echo x >"$TMPDIR/file" && echo succeeded`}
			}
			require.Equal(t, "succeeded", said(t, r, task), "it has a place to write to")
		})
		t.Run("no network/"+level, func(t *testing.T) {
			need(t, r, append(asked[level], isolation.Network)...)
			task := attempting(level, "connect", otherPort)
			task.Network = sandbox.NetworkNone
			want := map[string]string{sandbox.IsolationProcess: notPermitted, sandbox.IsolationNamespaces: "connection refused"}
			require.Contains(t, said(t, r, task), want[level])
		})
	}
}

// unconfined reports whether this test may do everything itself: others than
// root, and root in a container, are refused some of it anyway.
func unconfined(t *testing.T, r *exec.Runtime) bool {
	t.Helper()
	report, err := r.Isolation(t.Context())
	require.NoError(t, err)
	return os.Geteuid() == 0 && slices.Contains(report.Have, isolation.Namespaces)
}

// listen listens on a port of this machine until the test ends.
func listen(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// A fork bomb fills its own place, and a sibling goes on.
func TestForkBomb(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	for _, level := range confinedLevels {
		t.Run(level, func(t *testing.T) {
			need(t, r, append(asked[level], isolation.PidsLimit)...)
			sibling := sh("while :; do /bin/echo tick; done")
			sibling.Isolation, sibling.Sandbox = level, newID()
			s := start(t, r, sibling)
			defer s.Kill(t.Context())
			const limit, more = 40, 200
			bomb := attempting(level, "fork-bomb", strconv.Itoa(more))
			bomb.Limits = &sandbox.Limits{Pids: limit}
			b := start(t, r, bomb)
			eventually(t, "it is full", func() bool { return strings.Contains(strings.Join(lines(t, bomb.Log), ""), "full") })
			_, seen, _, err := sibling.Log.Read(t.Context(), 0, 0, false)
			require.NoError(t, err)
			eventually(t, "the sibling starts programs beside it", func() bool {
				_, now, _, err := sibling.Log.Read(t.Context(), seen, 0, false)
				return err == nil && now > seen+10
			})
			require.LessOrEqual(t, len(marked(bomb.PID)), limit+2, "with bubblewrap's two, which are outside of the limit")
			require.NoError(t, b.Kill(t.Context()))
			require.Empty(t, marked(bomb.PID))
		})
	}
}

func TestFillingTmp(t *testing.T) {
	const size = 8
	r := startRuntime(t, exec.Config{TmpMB: size})
	need(t, r, asked[sandbox.IsolationNamespaces]...)
	for _, dir := range []string{"/tmp", "/dev/shm"} {
		require.Contains(t, said(t, r, attempting(sandbox.IsolationNamespaces, "fill", dir, strconv.Itoa(size+1))), "no space left")
		require.Equal(t, "succeeded", said(t, r, attempting(sandbox.IsolationNamespaces, "fill", dir, strconv.Itoa(size-1))), "another's is empty")
	}
	for _, dir := range []string{"/", "/dev", "/run", "/var"} {
		require.Contains(t, said(t, r, attempting(sandbox.IsolationNamespaces, "fill", dir, "1")), "refused: ", dir)
	}
}

func TestEatingMemory(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	for _, level := range append([]string{sandbox.IsolationNone}, confinedLevels...) {
		t.Run(level, func(t *testing.T) {
			need(t, r, append(asked[level], isolation.MemoryLimit)...)
			task := attempting(level, "eat-memory", "512")
			task.Limits = &sandbox.Limits{MemoryMB: 96}
			p := start(t, r, task)
			got := exit(t, p)
			require.Equal(t, memdb.CauseOOM, got.Cause, "%+v", got)
			require.Contains(t, got.Detail, "96 MiB")
			require.Contains(t, p.Isolation().Have, string(isolation.MemoryLimit))
			small := attempting(level, "eat-memory", "4")
			small.Limits = task.Limits
			require.Equal(t, memdb.CauseExited, exit(t, start(t, r, small)).Cause)
		})
	}
}

// Exit codes and signals are the program's, whatever is between it and us.
func TestConfinedEnds(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	for _, level := range confinedLevels {
		t.Run(level, func(t *testing.T) {
			need(t, r, asked[level]...)
			for script, want := range map[string]memdb.Exit{
				"exit 0":                            {Cause: memdb.CauseExited},
				"exit 7":                            {Cause: memdb.CauseExited, Code: 7},
				"kill -TERM $$":                     {Cause: memdb.CauseSignaled, Code: 143, Signal: "SIGTERM"},
				"kill -KILL $$":                     {Cause: memdb.CauseSignaled, Code: 137, Signal: "SIGKILL"},
				"trap 'exit 3' USR1; kill -USR1 $$": {Cause: memdb.CauseExited, Code: 3},
			} {
				task := sh(script)
				task.Isolation, task.Sandbox = level, task.PID
				got := exit(t, start(t, r, task))
				got.At = time.Time{}
				require.Equal(t, want, got, script)
			}
			task := sh("trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.01; done")
			task.Isolation, task.Sandbox = level, task.PID
			p := start(t, r, task)
			eventually(t, "ready", func() bool { return len(lines(t, task.Log)) > 0 })
			require.Contains(t, cmdline(p.OSPID()), "trap", "it is the program that signals go to")
			p.Stop(patience)
			require.Equal(t, 4, exit(t, p).Code)
			require.Contains(t, lines(t, task.Log), "bye")
		})
	}
}

func cmdline(pid int) string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return string(raw)
}

// Daemons that left their session and lost their parents end with their program,
// and nothing that was lent stays behind.
func TestConfinedTreesLeaveNothing(t *testing.T) {
	r := startRuntime(t, exec.Config{Node: newName()})
	for _, level := range confinedLevels {
		t.Run(level, func(t *testing.T) {
			need(t, r, asked[level]...)
			task := sh(treeOfFour)
			task.Isolation, task.Sandbox, task.Limits = level, task.PID, &sandbox.Limits{Pids: 50}
			p := start(t, r, task)
			eventually(t, "four processes run", func() bool { return len(lines(t, task.Log)) == 4 })
			before := marked(task.PID)
			if len(before) == 0 && !unconfined(t, r) {
				t.Skip("a container's root cannot read the marks of others' processes")
			}
			require.GreaterOrEqual(t, len(before), 4)
			require.NoError(t, p.Kill(t.Context()))
			requireGone(t, before)
			require.Empty(t, marked(task.PID))
			raw, err := os.ReadFile("/proc/self/mountinfo")
			require.NoError(t, err)
			for line := range strings.Lines(string(raw)) {
				if f := strings.Fields(line); strings.Contains(line, " - cgroup") {
					found, _ := filepath.Glob(filepath.Join(f[4], "*", task.PID))
					require.Empty(t, found, "cgroups")
				}
			}
			left, err := filepath.Glob(filepath.Join(os.TempDir(), "glassbox-*", task.PID))
			require.NoError(t, err)
			require.Empty(t, left, "work folders")
		})
	}
}

func TestMounts(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("hidden"), 0o644))
	r := startRuntime(t, exec.Config{Protected: []string{secret}})
	need(t, r, asked[sandbox.IsolationNamespaces]...)
	dir := t.TempDir()
	for up := dir; up != os.TempDir(); up = filepath.Dir(up) {
		require.NoError(t, os.Chmod(up, 0o777))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\ncat /data/in; echo x >/out/made; echo x >/data/no\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in"), []byte("inside\n"), 0o644))
	task := sandbox.Task{
		PID: newID(), Exec: []string{"/data/tool"}, Log: sandbox.NewLog(0, 0),
		Mounts: []sandbox.Mount{{Source: dir, Target: "/data", ReadOnly: true}, {Source: dir, Target: "/out"}, {Source: dir, Target: "/var/tmp/deep/down"}},
	}
	exit(t, start(t, r, task))
	got := strings.Join(lines(t, task.Log), "\n")
	require.Contains(t, got, "inside")
	require.Contains(t, got, "Read-only")
	require.FileExists(t, filepath.Join(dir, "made"))
	require.NoFileExists(t, filepath.Join(dir, "no"))
	for source, want := range map[string]string{
		"/no/such": "does not exist", "/": "root of the machine", "/proc": "through which", "/tmp": "files of the node itself",
		secret: "files of the node itself", "x": "relative",
	} {
		task.PID, task.Mounts = newID(), []sandbox.Mount{{Source: source, Target: "/data"}}
		_, err := r.Start(t.Context(), task)
		require.ErrorContains(t, err, want)
	}
}

func TestHiddenProgramNamesTheLevel(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	file := filepath.Join(t.TempDir(), "tool")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755))
	for _, level := range confinedLevels {
		need(t, r, asked[level]...)
		_, err := r.Start(t.Context(), sandbox.Task{PID: newID(), Exec: []string{file}, Isolation: level})
		require.ErrorContains(t, err, `isolation "`+level+`"`)
		_, err = r.Start(t.Context(), sandbox.Task{PID: newID(), Exec: []string{"no-such-program"}, Isolation: level})
		require.ErrorContains(t, err, "was not found in PATH")
	}
}

// Two sandboxes have two users, two programs of one sandbox the same.
func TestUsers(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	need(t, r, append(asked[sandbox.IsolationProcess], isolation.UID)...)
	who := func(owner string) string {
		task := sh("id -u; id -G; sleep 1000")
		task.Isolation, task.Sandbox = sandbox.IsolationProcess, owner
		start(t, r, task)
		eventually(t, "it tells", func() bool { return len(lines(t, task.Log)) == 2 })
		got := lines(t, task.Log)
		require.Equal(t, got[0], got[1], "one group, of its own")
		return got[0]
	}
	a, again, b := who("a"), who("a"), who("b")
	require.Equal(t, a, again)
	require.NotEqual(t, a, b)
	require.NotEqual(t, "0", a)
}

// TestMountsOfWhatIsThere: a folder that is shown where it is, to be read, can be had
// at every level, and nothing beside it.
func TestMountsOfWhatIsThere(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	dir := t.TempDir()
	for up := dir; up != os.TempDir(); up = filepath.Dir(up) {
		require.NoError(t, os.Chmod(up, 0o777))
	}
	shown, beside := filepath.Join(dir, "shown"), filepath.Join(dir, "beside")
	require.NoError(t, os.Mkdir(shown, 0o755))
	require.NoError(t, os.WriteFile(beside, []byte("beside"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(shown, "tool"), []byte("#!/bin/sh\necho runs; cat "+beside+"; echo x >"+shown+"/new\n"), 0o755))
	for _, level := range confinedLevels {
		t.Run(level, func(t *testing.T) {
			need(t, r, asked[level]...)
			task := sandbox.Task{
				PID: newID(), Exec: []string{filepath.Join(shown, "tool")}, Log: sandbox.NewLog(0, 0), Isolation: level, Sandbox: newID(),
				Mounts: []sandbox.Mount{{Source: shown, Target: shown, ReadOnly: true}},
			}
			require.Equal(t, "runs", said(t, r, task))
			require.NoFileExists(t, filepath.Join(shown, "new"))
		})
	}
}
