package testcontainers

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// TestKilledProcessLeavesNothing: after kill -9 of a process with a cluster that
// runs, and of one in the middle of starting it, there is no container and no
// network of it.
func TestKilledProcessLeavesNothing(t *testing.T) {
	Need(t)
	for until, least := range map[string]int{"formed": 5, "starting": 1} { // with a helper and the network
		t.Run(until, func(t *testing.T) {
			child := again("TestToBeKilled", binaryVariable+"="+binary(t))
			label := follow(t, child, until)
			if until == "starting" {
				require.Eventually(t, func() bool { return left(t, runLabel, label) >= least }, 20*time.Second, time.Millisecond)
			}
			require.GreaterOrEqual(t, left(t, runLabel, label), least)
			require.NoError(t, child.Process.Kill())
			killed := time.Now()
			require.ErrorContains(t, child.Wait(), "killed")
			var gone time.Time // since when there is nothing
			require.Eventually(t, func() bool {
				switch {
				case left(t, runLabel, label) > 0:
					gone = time.Time{}
				case gone.IsZero():
					gone = time.Now()
				}
				return !gone.IsZero() && time.Since(gone) > 2*time.Second // a request may have been on its way
			}, time.Minute, 20*time.Millisecond)
			figure(t, "nothing left after kill -9, while "+until, gone.Sub(killed), 5*time.Second, 30*time.Second)
		})
	}
}

// binaryVariable has the node's binary for a child of a test.
const binaryVariable = "GLASSBOX_TEST_BINARY"

// follow starts a child and reads its output until it says that it is so far;
// it returns its label.
func follow(t *testing.T, child *exec.Cmd, until string) (label string) {
	t.Helper()
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill() }) // it may have ended
	var all strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&all, lines.Text())
		if _, said, ok := strings.Cut(lines.Text(), "label "); ok {
			label = said
		}
		if strings.HasSuffix(lines.Text(), until) {
			require.NotEmpty(t, label)
			return label
		}
	}
	t.Fatalf("it did not come so far as %q:\n%s", until, &all)
	return ""
}

// TestToBeKilled starts a cluster and then waits for its end.
func TestToBeKilled(t *testing.T) {
	onlyAsChild(t)
	e, err := theEngine()
	require.NoError(t, err)
	fmt.Printf("\nlabel %s\nstarting\n", e.label)
	c, err := Start(t.Context(), Options{Nodes: 3, Binary: os.Getenv(binaryVariable)})
	require.NoError(t, err)
	_, err = c.Break(t.Context(), harness.Link{Node: "n1"})
	require.NoError(t, err)
	fmt.Printf("\nformed\n")
	<-t.Context().Done() // never: it is killed
}

// TestReapAtTheEnd: what tests leave open is removed when they end.
func TestReapAtTheEnd(t *testing.T) {
	Need(t)
	child := again("TestToLeaveACluster", binaryVariable+"="+binary(t))
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "removed 2 containers and networks that the tests left; close your clusters")
	_, label, ok := strings.Cut(string(out), "label ")
	require.True(t, ok)
	label, _, _ = strings.Cut(label, "\n")
	require.Zero(t, left(t, runLabel, label))
}

// TestToLeaveACluster starts one and does not close it.
func TestToLeaveACluster(t *testing.T) {
	onlyAsChild(t)
	c, err := Start(t.Context(), Options{Nodes: 1, Binary: os.Getenv(binaryVariable)})
	require.NoError(t, err)
	fmt.Printf("\nlabel %s\n", c.engine.label)
	c.unwatch() // it would be taken for a goroutine left
	c.watches.Wait()
}

// TestEndOfTheReaper: it is told that nothing is left only if nothing can be.
func TestEndOfTheReaper(t *testing.T) {
	for told, clean := range map[string]bool{reaped: true, "": false} {
		var heard bytes.Buffer
		cmd := exec.Command("cat")
		cmd.Stdout = &heard
		pipe, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		require.NoError(t, (&reaper{cmd, pipe}).end(clean))
		if !clean {
			require.NoError(t, cmd.Wait())
		}
		require.Equal(t, told, heard.String())
	}
}

// TestReaperIsTold: a process that has cleaned up tells its reaper so, which
// then asks no engine.
func TestReaperIsTold(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
	begun := time.Now()
	require.Zero(t, reap(bytes.NewBufferString(reaped), "x"))
	require.Less(t, time.Since(begun), sweepQuiet)
}
