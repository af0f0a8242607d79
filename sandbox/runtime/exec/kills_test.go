package exec_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// strict asks the figures for their aims, and takes more of them (make bench).
var strict = os.Getenv("GLASSBOX_FIGURES") != ""

// levels are the isolation levels that programs are tried at; need skips those that
// this machine lacks.
var levels = append([]string{sandbox.IsolationNone}, confinedLevels...)

// unruly are programs that do what makes a program hard to find or to end. Each
// of their processes has the token, $0, among its arguments: that neither a new
// session nor an empty environment takes away.
var unruly = map[string]string{
	"hides":         `env -i bash -c 'setsid -f bash -c "exec >&- 2>&- <&-; exec -a $0 sleep 1000" "$0" & exit' "$0"; exec -a "$0" sleep 1000`,
	"hops":          `hop='setsid -f bash -c "$1" "$0" "$1"'; bash -c "$hop" "$0" "$hop"; exec -a "$0" sleep 1000`,
	"forks":         `f() { (exec -a "$0" sleep 0.02) & }; f; f; f; while wait -n; do f; done`,
	"does not obey": `trap "" TERM INT HUP; (trap "" TERM; exec -a "$0" sleep 1000) & exec -a "$0" sleep 1000`,
}

// unrulyNode is a node that starts unruly programs, and others that end, until it
// is killed or has lost its guardian. Its arguments are its name, which is the
// token, and the isolation level.
func unrulyNode() {
	name, level := os.Args[2], os.Args[3]
	r := exec.New(exec.Config{Command: guardianCommand(), Node: name}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	go r.Run(context.Background())
	go func() { // it ends with its test at the latest
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	lost := make(chan struct{})
	var held []sandbox.Process
	start := func(script string) sandbox.Process {
		for n := len(held); ; {
			p, err := r.Start(context.Background(), sandbox.Task{
				PID: fmt.Sprintf("%s.1.%d", name, n), Exec: []string{"bash", "-c", script, name, script}, Isolation: level,
			})
			if err == nil {
				held = append(held, p)
				return p
			}
			if !strings.Contains(err.Error(), "starting or stopping") {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
	first := start(`exec -a "$0" sleep 1000`)
	go func() { <-first.Done(); close(lost) }()
	guardian, _ := r.Guardian()
	keeper, _ := r.Keeper()
	fmt.Println(guardian, keeper)
	for _, script := range unruly {
		start(script)
	}
	for {
		select {
		case <-lost:
			// The next guardian runs what was just being started: that is not what is
			// looked for.
			for _, p := range held {
				_ = p.Kill(context.Background())
			}
			fmt.Println("lost")
			select {}
		case <-start(`exec -a "$0" sleep 0.01`).Done():
		}
	}
}

// startUnrulyNode starts one. What it prints next can be read from out.
func startUnrulyNode(t *testing.T, name, level string) (node standIn, out *bufio.Reader) {
	t.Helper()
	node = standIn{Cmd: osexec.Command(os.Args[0], "unruly-node", name, level), log: &logged{}}
	node.Stderr = node.log
	pipe, err := node.StdoutPipe()
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
	out = bufio.NewReader(pipe)
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	_, err = fmt.Sscan(line, &node.guardian, &node.keeper)
	require.NoError(t, err, line)
	return node, out
}

// withToken counts the living processes with a text as one of their arguments,
// except one.
func withToken(token string, except int) int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	count := 0
	for _, file := range files {
		args, _ := os.ReadFile(file)
		if hasArgument(args, token) && file != fmt.Sprintf("/proc/%d/cmdline", except) {
			count++
		}
	}
	return count
}

func hasArgument(args []byte, token string) bool {
	for arg := range bytes.SplitSeq(args, []byte{0}) {
		if string(arg) == token {
			return true
		}
	}
	return false
}

// deaths are what can die at once without leaving a program: any two of the
// three, in either order, at any moment.
var deaths = map[string]func(t *testing.T, s standIn){
	"node":     func(t *testing.T, s standIn) { killAtOnce(t, s.Process.Pid) },
	"guardian": func(t *testing.T, s standIn) { killAtOnce(t, s.guardian) },
	"keeper":   func(t *testing.T, s standIn) { killAtOnce(t, s.keeper) },
	"node and guardian": func(t *testing.T, s standIn) {
		killAtOnce(t, s.Process.Pid, s.guardian)
	},
	"node and keeper": func(t *testing.T, s standIn) {
		killAtOnce(t, s.Process.Pid, s.keeper)
	},
	"guardian and keeper": func(t *testing.T, s standIn) {
		killAtOnce(t, s.guardian, s.keeper)
	},
	"node, frozen before": func(t *testing.T, s standIn) {
		require.NoError(t, s.Process.Signal(syscall.SIGSTOP))
		<-time.After(anyMoment(50 * time.Millisecond))
		killAtOnce(t, s.Process.Pid)
	},
}

// killAtOnce kills processes in the same instant, in any order. One may have
// ended of the other's death before it is come to.
func killAtOnce(t *testing.T, pids ...int) {
	t.Helper()
	rand.Shuffle(len(pids), func(i, j int) { pids[i], pids[j] = pids[j], pids[i] })
	var all []*os.Process // held, so that no other process can have the number
	for _, pid := range pids {
		p, err := os.FindProcess(pid)
		require.NoError(t, err)
		defer p.Release()
		all = append(all, p)
	}
	for i, p := range all {
		if err := p.Kill(); i == 0 || !errors.Is(err, os.ErrProcessDone) {
			require.NoError(t, err)
		}
	}
}

func anyMoment(within time.Duration) time.Duration { return rand.N(within) }

// TestNoProgramIsLeft: whatever dies, no program is left over. The reach: 50
// times each, none left within a second.
func TestNoProgramIsLeft(t *testing.T) {
	rounds := 2
	switch {
	case strict:
		rounds = 50
	case testing.Short():
		rounds = 1
	}
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			need(t, startRuntime(t, exec.Config{}), asked[level]...)
			for who, kill := range deaths {
				t.Run(who, func(t *testing.T) { leaveNothing(t, rounds, level, who, kill) })
			}
		})
	}
}

// leaveNothing has a death happen again and again.
func leaveNothing(t *testing.T, rounds int, level, who string, kill func(*testing.T, standIn)) {
	var worst time.Duration
	running := 0
	for range rounds {
		there, took := killing(t, level, kill)
		running, worst = running+there, max(worst, took)
	}
	require.Positive(t, running, "nothing ran when it died: this tests nothing")
	t.Logf("isolation %s, kill -9 of %s: %d times, %d processes of programs ran, 0 left after %v at worst",
		level, who, rounds, running, worst.Round(time.Millisecond))
	if strict {
		require.Less(t, worst, time.Second)
	}
}

// killing lets a node run for a moment and kills who is to die. It returns how
// many processes its programs had, and how long it took until none was left.
func killing(t *testing.T, level string, kill func(*testing.T, standIn)) (running int, took time.Duration) {
	t.Helper()
	name := newName()
	node, out := startUnrulyNode(t, name, level)
	<-time.After(anyMoment(200 * time.Millisecond))
	running = withToken(name, node.Process.Pid)
	began := time.Now()
	kill(t, node)
	for clean := 0; clean < 3; { // one that was just being replaced may not be seen once
		if withToken(name, node.Process.Pid) == 0 {
			clean++
			continue
		}
		clean, took = 0, time.Since(began)
		require.Less(t, took, patience, "%d left, guardian %v, keeper %v: %s", withToken(name, node.Process.Pid), alive(node.guardian), alive(node.keeper), node.log.lines(""))
	}
	eventually(t, "the helpers end", func() bool { return !alive(node.guardian) && !alive(node.keeper) })
	if alive(node.Process.Pid) {
		line, err := out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "lost\n", line, "the node knows, and its supervisors with it")
	}
	_ = node.Process.Kill()
	_ = node.Wait()
	require.Zero(t, withToken(name, 0), "and nothing comes after")
	return running, took
}

// TestKillEndsTheUnruly: also one by one, while others run.
func TestKillEndsTheUnruly(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	other := start(t, r, sh("sleep 1000"))
	for what, script := range unruly {
		t.Run(what, func(t *testing.T) {
			token := newName()
			task := sandbox.Task{PID: newID(), Exec: []string{"bash", "-c", script, token, script}}
			p := start(t, r, task)
			eventually(t, "its processes run", func() bool { return withToken(token, 0) > 1 })
			require.NoError(t, p.Kill(t.Context()))
			for range 3 {
				require.Zero(t, withToken(token, 0))
			}
			require.True(t, alive(other.OSPID()))
		})
	}
}
