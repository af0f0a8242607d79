package node_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
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
