package node_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	osexec "os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// visit makes the test binary a client of a node that was given by its two addresses,
// and prints what each answered.
func visit(http, rpc string) {
	ask(http, "GET /livez HTTP/1.1\r\nHost: "+http+"\r\nConnection: close\r\n\r\n")
	ask(rpc, `{"jsonrpc":"2.0","id":1,"method":"cluster.status"}`+"\n")
}

func ask(addr, request string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		fmt.Println("not connected:", err)
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, request)
	line, _ := bufio.NewReader(c).ReadString('\n')
	fmt.Printf("answer: %.60q\n", line)
}

// TestUsersOfSandboxesAreTurnedAway, by both ports of a node that knows nothing of
// the sandbox; others come in.
func TestUsersOfSandboxesAreTurnedAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be other users")
	}
	n := nodetest.Start(t, 1)[0]
	first, _, _ := strings.Cut(n.Config.SandboxUsers, "-")
	ofSandbox, err := strconv.Atoi(first)
	require.NoError(t, err)
	for uid, welcome := range map[int]bool{0: true, ofSandbox - 1: true, ofSandbox: false} {
		cmd := osexec.Command("/proc/self/exe", "visit", n.HTTP(), n.RPC()) // its path may be root's
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		out, err := cmd.Output()
		require.NoError(t, err)
		if welcome {
			require.Regexp(t, `^answer: "HTTP/1.1 200 OK.*\nanswer: ".*jsonrpc`, string(out), "user %d", uid)
		} else {
			require.Equal(t, "answer: \"\"\nanswer: \"\"\n", string(out), "user %d", uid)
		}
	}
	require.Contains(t, n.Log.String(), "uid="+first)
}

// TestASandboxDoesNotReachAnotherNode, not even one that its node has never heard of,
// whose ports are open to it therefore.
func TestASandboxDoesNotReachAnotherNode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root's nodes give sandboxes users of their own")
	}
	shell, err := osexec.LookPath("bash")
	if err != nil {
		t.Skip("bash is needed, which can connect to TCP ports")
	}
	n, stranger := nodetest.Start(t, 1)[0], nodetest.Start(t, 1)[0]
	for _, level := range []string{sandbox.IsolationProcess, sandbox.IsolationNamespaces} {
		t.Run(level, func(t *testing.T) {
			confined(t, n, level)
			script := "trap '' PIPE; " // it may be turned away before it has spoken
			for _, addr := range []string{stranger.HTTP(), stranger.RPC()} {
				host, port, err := net.SplitHostPort(addr)
				require.NoError(t, err)
				script += fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s && echo connected; printf 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n' >&3; read -r line <&3; echo "got <$line>"; `, host, port)
			}
			nodetest.Call[json.RawMessage](t, n, "sandbox.create", map[string]any{"id": level, "children": []any{
				map[string]any{"id": "a", "run": map[string]any{"exec": []string{shell, "-c", script + "echo done; exec sleep 600"}}},
			}, "isolation": level})
			pid := worker(t, n, level).PID
			var said []string
			require.Eventually(t, func() bool {
				said = nil
				for _, e := range nodetest.Call[operations.ProcessLogs](t, n, "process.logs", map[string]any{"pid": pid, "stream": "stdout"}).Entries {
					said = append(said, e.Line)
				}
				return slices.Contains(said, "done")
			}, 20*time.Second, 10*time.Millisecond, "it has not tried all: %v", &said)
			require.Equal(t, []string{"connected", "got <>", "connected", "got <>", "done"}, said)
			require.Contains(t, stranger.Log.String(), "connection refused: a program of a sandbox")
		})
	}
}

// confined skips a test of a level that this machine does not have; with
// GLASSBOX_REQUIRE set it fails.
func confined(t *testing.T, n *nodetest.Node, level string) {
	t.Helper()
	needs := map[string]isolation.Primitive{sandbox.IsolationProcess: isolation.Landlock, sandbox.IsolationNamespaces: isolation.Namespaces}
	report := nodetest.Call[operations.NodeInfo](t, n, "node.info", map[string]any{"node": n.Config.Name}).Isolation
	if !slices.Contains(report.Have, needs[level]) || !slices.Contains(report.Have, isolation.UID) {
		require.Empty(t, os.Getenv("GLASSBOX_REQUIRE"), "GLASSBOX_REQUIRE is set, and this machine lacks %v", report.Missing)
		t.Skip("this machine lacks ", report.Missing)
	}
}
