package exec_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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

// standInNode is a node that starts trees until it is killed.
func standInNode() {
	r := exec.New(exec.Config{Command: guardianCommand()}, nil)
	go r.Run(context.Background())
	go func() { // it ends with its test at the latest
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	mark, told := os.Args[2], false
	for n := 0; ; n++ {
		script := treeOfFour
		if n%2 == 1 {
			script = "sleep 0.01"
		}
		p, err := r.Start(context.Background(), sandbox.Task{
			PID: fmt.Sprintf("%s.%d", mark, n), Exec: []string{"sh", "-c", script},
		})
		if err != nil {
			continue
		}
		if !told {
			guardian, _ := r.Guardian()
			fmt.Println(guardian)
			told = true
		}
		if n%3 == 0 {
			go p.Kill(context.Background())
		}
		if n > 30 {
			<-p.Done()
		}
	}
}

func TestKilledNodeLeavesNothing(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		mark := fmt.Sprintf("killed%d.%d", os.Getpid(), round)
		node := osexec.Command(os.Args[0], "stand-in-node", mark)
		out, err := node.StdoutPipe()
		require.NoError(t, err)
		_, err = node.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, node.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		var guardian int
		_, err = fmt.Sscan(line, &guardian)
		require.NoError(t, err)
		<-time.After(time.Duration(rand.IntN(80)) * time.Millisecond) // any moment
		require.NoError(t, node.Process.Kill())
		_, _ = io.Copy(io.Discard, out)
		_ = node.Wait()
		eventually(t, "the guardian ends", func() bool { return !alive(guardian) })
		require.Empty(t, marked(mark+"."), "round %d", round)
	}
}
