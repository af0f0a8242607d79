package exec_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// builtBinary is where `make build` puts the program: its start is what a shim
// costs. Without it the test binary is measured, which is smaller.
const builtBinary = "../../../bin/glassbox"

// benchRuntime runs a runtime whose guardian and shim are the real program.
func benchRuntime(b *testing.B) *exec.Runtime {
	b.Helper()
	cfg := exec.Config{Ports: func() []int { return []int{4000, 4100} }}
	if path, err := filepath.Abs(builtBinary); err == nil && osexec.Command(path, "version").Run() == nil {
		cfg.Command = []string{path, "guardian"}
	} else {
		b.Logf("%s is not built: the test binary is measured in its place", builtBinary)
	}
	r := exec.New(cfg, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	_, err := r.Isolation(b.Context())
	require.NoError(b, err)
	return r
}

// toLine starts a task that prints a line, and returns how long that took and, at
// the end, nothing of it being left.
func toLine(b *testing.B, r *exec.Runtime, task sandbox.Task) time.Duration {
	b.Helper()
	task.PID, task.Log = newID(), sandbox.NewLog(0, 0)
	began := time.Now()
	p, err := r.Start(b.Context(), task)
	require.NoError(b, err)
	_, _, _, err = task.Log.Read(b.Context(), 0, 1, true)
	took := time.Since(began)
	require.NoError(b, err)
	<-p.Done()
	return took
}

// commandToLine does the same with a command.
func commandToLine(b *testing.B, cmd *osexec.Cmd) time.Duration {
	b.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	began := time.Now()
	require.NoError(b, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	took := time.Since(began)
	require.NoError(b, err)
	require.Equal(b, "up\n", line)
	require.NoError(b, cmd.Wait())
	return took
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// compare runs each in turn, b.N times, and reports the medians: of the first in
// time, and as a ratio to each of the others.
func compare(b *testing.B, names []string, runs ...func() time.Duration) {
	times := make([][]time.Duration, len(runs))
	for _, run := range runs { // once for what only the first has to pay
		run()
	}
	for b.Loop() {
		for i, run := range runs {
			times[i] = append(times[i], run())
		}
	}
	first := median(times[0])
	b.ReportMetric(float64(first.Microseconds())/1e3, names[0]+"-ms")
	for i := 1; i < len(runs); i++ {
		other := median(times[i])
		b.ReportMetric(float64(other.Microseconds())/1e3, names[i]+"-ms")
		b.ReportMetric(float64(first)/float64(other), "x-"+names[i])
	}
}

// BenchmarkStartNone is the time from the start of a program to its first line,
// beside a bare fork and exec.
func BenchmarkStartNone(b *testing.B) {
	r := benchRuntime(b)
	task := sandbox.Task{Exec: []string{"/bin/echo", "up"}, Isolation: sandbox.IsolationNone}
	compare(b, []string{"none", "fork-exec"},
		func() time.Duration { return toLine(b, r, task) },
		func() time.Duration { return commandToLine(b, osexec.Command("/bin/echo", "up")) })
}

// BenchmarkStartProcess is the same at the level process.
func BenchmarkStartProcess(b *testing.B) {
	r := benchRuntime(b)
	need(b, r, asked[sandbox.IsolationProcess]...)
	task := sandbox.Task{Exec: []string{"/bin/echo", "up"}, Isolation: sandbox.IsolationProcess, Sandbox: "bench"}
	compare(b, []string{"process", "fork-exec"},
		func() time.Duration { return toLine(b, r, task) },
		func() time.Duration { return commandToLine(b, osexec.Command("/bin/echo", "up")) })
}

// BenchmarkStartNamespaces is the same under namespaces, beside the same stack
// written by hand (a shell, cgroups, setpriv, bubblewrap, a filter) and beside
// bubblewrap alone.
func BenchmarkStartNamespaces(b *testing.B) {
	r := benchRuntime(b)
	need(b, r, append(asked[sandbox.IsolationNamespaces], isolation.UID)...)
	task := sandbox.Task{Exec: []string{"/bin/echo", "up"}, Isolation: sandbox.IsolationNamespaces, Sandbox: "bench"}
	stack := newHandMade(b)
	if stack.groups != "" {
		need(b, r, isolation.MemoryLimit, isolation.PidsLimit, isolation.CPULimit)
		task.Limits = &sandbox.Limits{MemoryMB: 64, Pids: 64, CPUs: 1}
	} else {
		b.Log("no cgroups of version 1 here: measured without limits")
	}
	compare(b, []string{"namespaces", "by-hand", "bubblewrap", "fork-exec"},
		func() time.Duration { return toLine(b, r, task) },
		func() time.Duration { return stack.run(b) },
		func() time.Duration {
			return commandToLine(b, osexec.Command("bwrap", "--unshare-all", "--share-net", "--die-with-parent", "--ro-bind", "/", "/",
				"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/echo", "up"))
		},
		func() time.Duration { return commandToLine(b, osexec.Command("/bin/echo", "up")) })
}

// handMade is the stack as somebody would script it.
type handMade struct{ script, groups string }

func newHandMade(b *testing.B) handMade {
	b.Helper()
	filter, err := isolation.Filter(sandbox.NetworkHost)
	require.NoError(b, err)
	file := filepath.Join(b.TempDir(), "filter")
	require.NoError(b, os.WriteFile(file, filter, 0o644))
	plan := isolation.Plan{Network: sandbox.NetworkHost}
	bwrap := "bwrap '" + strings.Join(isolation.Bubblewrap(isolation.FindSystem(), plan, 64, isolation.Hidden{}, false), "' '") + "'"
	drop := fmt.Sprintf("setpriv --reuid %[1]d --regid %[1]d --clear-groups --no-new-privs", exec.DefaultFirstUser)
	h := handMade{script: "set -e\n"}
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/memory/memory.limit_in_bytes"); err == nil {
		h.groups = "glassbox-bench-" + fmt.Sprint(os.Getpid())
		h.script += strings.NewReplacer("G", root, "X", h.groups).Replace(`mkdir G/memory/X G/pids/X G/cpu/X
echo 67108864 >G/memory/X/memory.limit_in_bytes
echo 64 >G/pids/X/pids.max
echo 100000 >G/cpu/X/cpu.cfs_quota_us
echo $$ >G/memory/X/cgroup.procs
echo $$ >G/pids/X/cgroup.procs
echo $$ >G/cpu/X/cgroup.procs
`)
	}
	h.script += fmt.Sprintf("exec %s %s --seccomp 9 -- /bin/echo up 9<%s\n", drop, bwrap, file)
	return h
}

func (h handMade) run(b *testing.B) time.Duration {
	b.Helper()
	took := commandToLine(b, osexec.Command("/bin/sh", "-c", h.script))
	if h.groups != "" {
		for _, c := range []string{"memory", "pids", "cpu"} {
			folder := filepath.Join("/sys/fs/cgroup", c, h.groups)
			for os.Remove(folder) != nil { // its last process may take a moment to go
				if _, err := os.Stat(folder); err != nil {
					break
				}
			}
		}
	}
	return took
}

// BenchmarkStartToExit is the time from the start of `true` to the proof that
// nothing of it is left.
func BenchmarkStartToExit(b *testing.B) {
	r := benchRuntime(b)
	for _, level := range append([]string{sandbox.IsolationNone}, confinedLevels...) {
		b.Run(level, func(b *testing.B) {
			need(b, r, asked[level]...)
			task := sandbox.Task{Exec: []string{"true"}, Isolation: level, Sandbox: "bench"}
			for b.Loop() {
				task.PID = newID()
				p, err := r.Start(b.Context(), task)
				require.NoError(b, err)
				<-p.Done()
			}
		})
	}
}

// BenchmarkUsage is what a sandbox of fifty children costs to measure.
func BenchmarkUsage(b *testing.B) {
	r := exec.New(exec.Config{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var all []sandbox.Process
	for len(all) < 50 {
		p, err := r.Start(context.Background(), sandbox.Task{PID: newID(), Exec: []string{"sleep", "1000"}})
		if err == nil { // or Run has not begun yet
			all = append(all, p)
		}
	}
	for b.Loop() {
		for _, p := range all {
			if _, err := p.Usage(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
