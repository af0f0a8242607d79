package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// freePort returns a port from which on three are free.
func freePort(t *testing.T) int {
	t.Helper()
	for port := 30000 + os.Getpid()%20000; port < 60000; port += 16 {
		if (devFlags{nodes: 3, httpPort: port, rpcPort: port + 8, preset: "lan"}).check() == nil {
			return port
		}
	}
	require.Fail(t, "no free ports")
	return 0
}

// TestDev is the README's first page: three nodes, the demo, a death, and
// nothing left.
func TestDev(t *testing.T) {
	s := newShell(t)
	port := freePort(t)
	s.env["GLASSBOX_HTTP_PORT"], s.env["GLASSBOX_RPC_PORT"] = strconv.Itoa(port), strconv.Itoa(port+8)
	t.Setenv("GLASSBOX_DEV_TEST", t.Name()) // marks the nodes, to find what is left of them
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, errors buffer
	ended := s.start(ctx, &out, &errors, "dev", "--preset", "local")
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Ctrl-C") }, 20*time.Second, 10*time.Millisecond, "%s %s", &out, &errors)
	require.Empty(t, errors.String())

	s.fails(4, "is in use; end what uses it", "dev")
	require.Contains(t, s.ok("status"), "3 of 3 nodes alive", "found by the context file")
	require.Contains(t, s.ok("ps"), "counter")
	require.Equal(t, 4, strings.Count(s.ok("nodes"), "\n"))
	talk(t, s)

	var events buffer
	following := s.start(ctx, &events, &errors, "events", "-f", "--types", "MemberFailed")
	pid, err := strconv.Atoi(field(t, out.String(), "127.0.0.1:"+strconv.Itoa(port+9), 3))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Eventually(t, func() bool {
		return strings.Contains(events.String(), "n2") && strings.Contains(out.String(), "n2 (pid "+strconv.Itoa(pid)+") ended: signal: killed")
	}, 10*time.Second, 10*time.Millisecond, "%s %s", &events, &out)
	require.Contains(t, events.String(), "refused", "with its why")
	require.Contains(t, s.ok("status"), "2 of 3 nodes alive")

	// The first node dies too: commands and followers go on with the third.
	first, err := strconv.Atoi(field(t, out.String(), "127.0.0.1:"+strconv.Itoa(port+8), 3))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	require.Eventually(t, func() bool { return strings.Contains(s.run("status").out, "seen by n3: minority, 1 of 3") }, 10*time.Second, 20*time.Millisecond)

	interrupt()
	require.Zero(t, ended(), "%s", &errors)
	following()
	left, err := os.ReadDir(filepath.Join(s.env["HOME"], ".config", "glassbox"))
	require.NoError(t, err)
	require.Empty(t, left, "no context")
	require.Eventually(t, func() bool {
		left, err := harness.Marked("GLASSBOX_DEV_TEST=" + t.Name())
		return err == nil && len(left) == 0
	}, 10*time.Second, 20*time.Millisecond, "nothing is left")
}

// talk talks to the demo's counter.
func talk(t *testing.T, s *shell) {
	t.Helper()
	counter := field(t, s.ok("ps"), "counter", 0)
	require.Equal(t, "2\n", s.ok("message", counter, "increment", `{"by":2}`))
	require.Equal(t, "2\n", s.ok("message", "demo/counter", "get"), "by the name of its slot")
	require.JSONEq(t, `{"pid":"`+counter+`","result":2}`, s.ok("message", counter, "get", "-o", "json"))
	require.Equal(t, "written to "+counter+"\n", s.ok("message", counter, "increment", "--cast"))
	s.ok("message", counter, "--send", `{"jsonrpc":"2.0","method":"increment"}`)
	require.Equal(t, "4\n", s.ok("message", counter, "get"))
	require.Contains(t, s.ok("logs", counter), "count is 4")
	s.fails(1, "no method decrement", "message", counter, "decrement")
	s.fails(2, "an object or an array", "message", counter, "increment", "7")
	s.fails(2, "exclude each other", "message", counter, "increment", "--cast", "--send")
	s.fails(3, "no registered name", "message", "nobody", "get")

	require.Regexp(t, `holds +[13] processes`, s.ok("info", counter)) // with those of bubblewrap, where it is
	require.Regexp(t, `[26] processes`, s.ok("sandbox", "info", "demo", "--include-stats"))
	require.Equal(t, "sent to "+counter+"\n", s.ok("signal", counter, "winch"))
	require.Contains(t, s.ok("logs", counter), "signal SIGWINCH sent by")
	s.fails(2, "SIGUSR1", "signal", counter, "SIGNONE")
	s.fails(4, "supervisor", "signal", field(t, s.ok("ps"), "supervisor", 0), "HUP")
	s.fails(5, "exit code 1", "message", counter, "crash")
	s.fails(3, "has ended", "message", counter, "get")
	require.Eventually(t, func() bool { // its successor counts anew
		return s.run("message", field(t, s.ok("ps"), "counter", 0), "get").out == "0\n"
	}, 10*time.Second, 20*time.Millisecond)
}

// TestTwoDevs: the newest cluster is found while it lives, then the one before.
func TestTwoDevs(t *testing.T) {
	s := newShell(t)
	port := freePort(t)
	run := func(port int, more ...string) (end func()) {
		ctx, interrupt := context.WithCancel(t.Context())
		var out, errors buffer
		args := []string{"dev", "--nodes", "1", "--no-demo", "--http-port", strconv.Itoa(port), "--rpc-port", strconv.Itoa(port + 8)}
		ended := s.start(ctx, &out, &errors, append(args, more...)...)
		eventually(t, &out, "Ctrl-C", &errors)
		return func() {
			interrupt()
			require.Zero(t, ended(), "%s", &errors)
		}
	}
	s.env["GLASSBOX_ALLOW_FAULTS"] = "true"
	endFirst := run(port)
	delete(s.env, "GLASSBOX_ALLOW_FAULTS")
	require.Equal(t, "no faults\n", s.ok("fault", "list"))
	endSecond := run(port + 1)
	require.Contains(t, s.ok("status"), "127.0.0.1:"+strconv.Itoa(port+9))
	require.Contains(t, s.ok("fault", "list"), "allows none")
	endSecond()
	require.Contains(t, s.ok("status"), "127.0.0.1:"+strconv.Itoa(port+8))
	endFirst()
}

func TestDevFaults(t *testing.T) {
	s := newShell(t)
	s.fails(2, "nodes", "dev", "--nodes", "0")
	s.fails(2, "http-port", "dev", "--http-port", "65534")
	s.fails(2, "rpc-port", "dev", "--rpc-port", "0")
	s.fails(2, "lan", "dev", "--preset", "moon")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	s.fails(4, "--http-port", "dev", "--nodes", "1", "--http-port", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}
