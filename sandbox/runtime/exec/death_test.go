package exec_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
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

func TestGuardianKilledIsReplaced(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	task := sh(treeOfFour)
	p := start(t, r, task)
	pids := pidsOf(t, task.Log)
	old, ok := r.Guardian()
	require.True(t, ok)
	require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
	require.Equal(t, memdb.CauseLost, exit(t, p).Cause)
	requireGone(t, pids)
	require.Empty(t, marked(task.PID))
	require.Equal(t, 0, exit(t, start(t, r, sh("true"))).Code, "a start right after finds the next guardian")
	now, ok := r.Guardian()
	require.True(t, ok)
	require.NotEqual(t, old, now)
}

func TestGuardianIsDeafToSignals(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	p := start(t, r, sh("sleep 1000"))
	guardian, _ := r.Guardian()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		require.NoError(t, syscall.Kill(guardian, sig))
	}
	require.Equal(t, 0, exit(t, start(t, r, sh("true"))).Code)
	now, _ := r.Guardian()
	require.Equal(t, guardian, now)
	require.True(t, alive(p.OSPID()))
}

func TestGuardianByHand(t *testing.T) {
	out, err := osexec.Command(os.Args[0], "guardian").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "started by a node")
}

func TestGuardianIsSmall(t *testing.T) {
	r := startRuntime(t, exec.Config{Command: []string{os.Args[0], "guardian"}})
	start(t, r, sh("sleep 1000"))
	guardian, _ := r.Guardian()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", guardian))
	require.NoError(t, err)
	for line := range strings.SplitSeq(string(status), "\n") {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "RssAnon") {
			t.Log("guardian (of a test binary):", line)
		}
	}
}

// A guardian that dies at once is started when a program wants it, and then not
// without a pause.
func TestGuardianThatDiesAtOnce(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	r := startRuntime(t, exec.Config{Command: []string{"/bin/sh", "-c", "echo >>" + started}})
	times := func() int {
		raw, _ := os.ReadFile(started)
		return len(raw)
	}
	began := time.Now()
	for range 2 {
		eventually(t, "the start fails", func() bool {
			_, err := r.Start(t.Context(), sh("true"))
			require.Error(t, err)
			return errs.KindOf(err) == errs.NodeUnavailable
		})
	}
	tries := times()
	require.LessOrEqual(t, tries, 8, "three for each start, and one that was there and dying")
	require.GreaterOrEqual(t, time.Since(began), (50+100+200+400)*time.Millisecond)
	<-time.After(1500 * time.Millisecond)
	require.LessOrEqual(t, times(), tries+1, "nothing wants one; a start may have asked just as one was started")
}

// standInNode is a node that starts trees until it is killed. Its arguments are
// the mark of their pids, and its name.
func standInNode() {
	r := exec.New(exec.Config{Command: guardianCommand(), Node: os.Args[3]}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	go r.Run(context.Background())
	go func() { // it ends with its test at the latest
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	for n := 0; ; {
		script := treeOfFour
		if n%2 == 1 {
			script = "sleep 0.01"
		}
		p, err := r.Start(context.Background(), sandbox.Task{
			PID: fmt.Sprintf("%s.%d", os.Args[2], n), Exec: []string{"sh", "-c", script}, Isolation: os.Args[4],
		})
		if err != nil {
			continue // Run has not begun yet
		}
		if n == 0 {
			guardian, _ := r.Guardian()
			keeper, _ := r.Keeper()
			fmt.Println(guardian, keeper)
		}
		if n%3 == 0 {
			go p.Kill(context.Background())
		}
		if n > 30 {
			<-p.Done()
		}
		n++
	}
}

// standIn is a stand-in node with its two helpers.
type standIn struct {
	*osexec.Cmd
	guardian, keeper int
	log              *logged
}

// kill kills the node, and waits until it is gone.
func (s standIn) kill(t *testing.T) {
	require.NoError(t, s.Process.Kill())
	_ = s.Wait()
}

// startStandInNode starts a node and its first program; the programs' pids are
// <name>.<incarnation>.0, .1 …
func startStandInNode(t *testing.T, name string, incarnation int) standIn {
	t.Helper()
	return startStandInNodeAt(t, name, incarnation, sandbox.IsolationNone)
}

// startStandInNodeAt does that with programs at a level.
func startStandInNodeAt(t *testing.T, name string, incarnation int, level string) standIn {
	t.Helper()
	log := &logged{}
	node := osexec.Command(os.Args[0], "stand-in-node", fmt.Sprintf("%s.%d", name, incarnation), name, level)
	node.Stderr = log
	out, err := node.StdoutPipe()
	require.NoError(t, err)
	hold, err := node.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, node.Start())
	sweepAfter(t, name)
	t.Cleanup(func() {
		_ = hold.Close() // not before, or the node ends
		_ = node.Process.Kill()
		_ = node.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	s := standIn{Cmd: node, log: log}
	_, err = fmt.Sscan(line, &s.guardian, &s.keeper)
	require.NoError(t, err)
	return s
}

// requireLasting waits for two trees that the stand-in node does not end, the one
// with the number 2 and the one with the number 4.
func requireLasting(t *testing.T, name string) {
	t.Helper()
	eventually(t, "programs run", func() bool {
		return len(marked(name+".1.2")) >= 4 && len(marked(name+".1.4")) >= 4
	})
}
