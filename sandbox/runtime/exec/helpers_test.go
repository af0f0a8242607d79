package exec_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

var serial atomic.Int64

// newID makes a pid that no other test uses: also the mark to look for.
func newID() string { return fmt.Sprintf("t%d.1.%d", os.Getpid(), serial.Add(1)) }

// newName makes a node's name that no other test uses.
func newName() string { return fmt.Sprintf("node%d-%d", os.Getpid(), serial.Add(1)) }

// eventually polls what the operating system shows.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 5*time.Millisecond, what)
}

// guardianCommand is the test binary as guardian. Under -race a program
// sleeps for a second before it exits, if it is not told otherwise. What it covers
// goes where `make cover` wants it.
func guardianCommand() []string {
	return []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", "GOCOVERDIR=" + os.Getenv("GLASSBOX_COVER_DIR"), os.Args[0], "guardian"}
}

// startRuntime runs a runtime until the test ends.
func startRuntime(t *testing.T, cfg exec.Config) *exec.Runtime {
	t.Helper()
	r, _ := startLoggedRuntime(t, cfg)
	return r
}

// logged collects what a runtime logs.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns the lines with a text in them.
func (l *logged) lines(with string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, with) {
			found = append(found, line)
		}
	}
	return found
}

// startLoggedRuntime is startRuntime for a test that reads the log.
func startLoggedRuntime(t *testing.T, cfg exec.Config) (*exec.Runtime, *logged) {
	t.Helper()
	if cfg.Command == nil {
		cfg.Command = guardianCommand()
	}
	log := &logged{}
	r := exec.New(cfg, slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), log), nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		_, ok := r.Guardian()
		require.False(t, ok)
	})
	return r, log
}

// sh is a task that runs a shell script, and that nothing confines.
func sh(script string) sandbox.Task {
	return sandbox.Task{PID: newID(), Exec: []string{"sh", "-c", script}, Log: sandbox.NewLog(0, 0), Isolation: sandbox.IsolationNone}
}

// start starts a task; a runtime that just began is waited for.
func start(t *testing.T, r *exec.Runtime, task sandbox.Task) sandbox.Process {
	t.Helper()
	var p sandbox.Process
	var err error
	eventually(t, "the runtime runs", func() bool {
		p, err = r.Start(t.Context(), task)
		return err == nil || !strings.Contains(err.Error(), "starting or stopping")
	})
	require.NoError(t, err)
	return p
}

// exit waits for a process's end.
func exit(t *testing.T, p sandbox.Process) memdb.Exit {
	t.Helper()
	select {
	case <-p.Done():
		return p.Exit()
	case <-time.After(patience):
		require.Fail(t, "the process does not end")
		return memdb.Exit{}
	}
}

// lines returns what a log holds.
func lines(t *testing.T, log *sandbox.Log) []string {
	t.Helper()
	entries, _, _, err := log.Read(t.Context(), 0, 0, false)
	require.NoError(t, err)
	var texts []string
	for _, e := range entries {
		texts = append(texts, e.Line)
	}
	return texts
}

// marked lists the processes with a text in their environment's mark.
func marked(mark string) []int {
	dirs, _ := os.ReadDir("/proc")
	var pids []int
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if bytes.Contains(env, []byte("GLASSBOX_PID="+mark)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// alive reports whether a process lives.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return fields[0][0] != 'Z' && fields[0][0] != 'X'
}

// sweepAfter lets another life of a node that a test kills remove, at the test's
// end, what it leaves: cgroups and work folders.
func sweepAfter(t *testing.T, node string) {
	t.Helper()
	t.Cleanup(func() {
		r := exec.New(exec.Config{Node: node, Command: guardianCommand()}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		_, err := r.Isolation(context.Background())
		require.NoError(t, err)
		cancel()
		require.NoError(t, <-done)
	})
}
