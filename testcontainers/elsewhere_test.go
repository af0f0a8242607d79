package testcontainers

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// TestEngineElsewhere: an engine that is reached by TCP is taken for one with a
// clock of its own.
func TestEngineElsewhere(t *testing.T) {
	Need(t)
	e, err := theEngine()
	require.NoError(t, err)
	socket, ok := strings.CutPrefix(e.api.DaemonHost(), "unix://")
	if !ok {
		t.Skip("the engine is elsewhere already")
	}
	out, err := again("TestOnTheOtherEngine", "DOCKER_HOST=tcp://"+forward(t, socket), binaryVariable+"="+binary(t)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestOnTheOtherEngine")
}

func TestOnTheOtherEngine(t *testing.T) {
	onlyAsChild(t)
	c, err := Start(t.Context(), Options{Nodes: 2, Binary: os.Getenv(binaryVariable)})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	require.False(t, c.engine.local)
	_, err = harness.WaitJoined(within(t, 30*time.Second), c)
	require.NoError(t, err)
	_, err = c.Break(t.Context(), harness.Link{Node: "n1"})
	require.NoError(t, err)
	asked := time.Now()
	at, err := c.Kill(t.Context(), "n2")
	require.NoError(t, err)
	require.WithinRange(t, at, asked, time.Now())
	n, err := c.on("n2")
	require.NoError(t, err)
	state, err := c.look(t.Context(), n, n.lives)
	require.NoError(t, err)
	require.NotEqual(t, state.FinishedAt, at.UTC().Format(time.RFC3339Nano), "that is the other clock")
}

// forward accepts connections and passes them on to a socket.
func forward(t *testing.T, socket string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		all.Wait()
	})
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return // closed
			}
			out, err := net.Dial("unix", socket)
			if err != nil {
				_ = in.Close()
				continue
			}
			all.Go(func() { pass(out.(*net.UnixConn), in) })
			all.Go(func() { pass(in.(*net.TCPConn), out) })
		}
	})
	return l.Addr().String()
}

// pass passes on all that comes, and then its end.
func pass(to interface {
	io.Writer
	CloseWrite() error
}, from io.ReadCloser) {
	_, _ = io.Copy(to, from) // the one who asked sees that it broke off
	_ = to.CloseWrite()
}
