// Package nodetest runs real nodes inside a test's own process.
//
//	func TestMain(m *testing.M) { nodetest.Main(m) }
//
//	nodes := nodetest.Start(t, 3) // joined; stopped at the end of the test
package nodetest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/internal/node"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
	"github.com/glassbox-dev/glassbox/server/client"
)

// Main runs a package's tests; the same binary is the guardian of the nodes
// that they start. At the end no goroutine may be left.
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "guardian" {
		os.Exit(exec.GuardianMain())
	}
	goleak.VerifyTestMain(m)
}

// Node is a running node.
type Node struct {
	*node.Node
	Config node.Config
	Log    *Log
	stop   context.CancelFunc
	ended  chan struct{}
	err    error
}

// joinTimeout is far more than joining takes, also with the race detector.
const joinTimeout = 20 * time.Second

// Configs are the configurations of nodes n1, n2 … that know each other.
func Configs(t testing.TB, n int) []node.Config {
	t.Helper()
	addrs, err := harness.FreeAddrs(2 * n)
	require.NoError(t, err)
	configs := make([]node.Config, n)
	for i := range configs {
		c := node.DefaultConfig()
		c.Name, c.HTTP, c.RPC = fmt.Sprintf("n%d", i+1), addrs[i], addrs[n+i]
		for j := range n {
			c.Peers[fmt.Sprintf("n%d", j+1)] = addrs[n+j]
		}
		configs[i] = c
	}
	return configs
}

// Start starts n nodes, each changed as told, and waits until they have joined
// and each sees all alive.
func Start(t testing.TB, n int, changes ...func(*node.Config)) []*Node {
	t.Helper()
	var nodes []*Node
	for _, cfg := range Configs(t, n) {
		for _, change := range changes {
			change(&cfg)
		}
		nodes = append(nodes, Run(t, cfg))
	}
	for _, one := range nodes {
		one.WaitReady(t)
		require.Eventually(t, func() bool {
			status := Call[struct {
				Alive int `json:"alive"`
			}](t, one, "cluster.status", nil)
			return status.Alive == n
		}, joinTimeout, time.Millisecond)
	}
	return nodes
}

// Run starts one node.
func Run(t testing.TB, cfg node.Config) *Node {
	t.Helper()
	n := &Node{Config: cfg, Log: &Log{}, ended: make(chan struct{})}
	made, err := node.New(cfg, "test", slog.New(slog.NewTextHandler(n.Log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", cfg.Name))
	require.NoError(t, err)
	n.Node = made
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go func() {
		defer close(n.ended)
		n.err = made.Run(ctx)
	}()
	t.Cleanup(func() {
		require.NoError(t, n.Stop())
		if t.Failed() {
			t.Logf("log of %s:\n%s", cfg.Name, n.Log)
		}
	})
	return n
}

// WaitReady waits until the node has joined.
func (n *Node) WaitReady(t testing.TB) {
	t.Helper()
	select {
	case <-n.Ready():
	case <-n.ended:
		require.NoError(t, n.err, "%s ended before it had joined", n.Config.Name)
	case <-time.After(joinTimeout):
		require.FailNow(t, "not joined", "%s; its log:\n%s", n.Config.Name, n.Log)
	}
}

// Stop ends the node and returns what its Run did.
func (n *Node) Stop() error {
	n.stop()
	<-n.ended
	return n.err
}

// Ended is closed when the node's Run has returned.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Client talks to the node and keeps no connection.
func (n *Node) Client() *client.Client {
	return &client.Client{Addr: n.HTTP(), HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// Call runs an operation and demands that it succeeds.
func Call[T any](t testing.TB, n *Node, method string, params any) T {
	t.Helper()
	var result T
	require.NoError(t, n.Client().Call(t.Context(), method, params, &result))
	return result
}

// Log collects what a node logs.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
