package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
)

// knows lets the shell's user have a running dev cluster at the addresses.
func (s *shell) knows(addrs ...string) (forget func()) {
	s.t.Helper()
	a := &app{getenv: func(name string) string { return s.env[name] }}
	withdraw, err := announce(a.contextDir(), clusterContext{Addrs: addrs, PID: os.Getpid(), Started: time.Now()})
	require.NoError(s.t, err)
	return func() { require.NoError(s.t, withdraw()) }
}

// frozen is the address of a process that was stopped: the kernel accepts for
// it, and nothing answers.
func frozen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l.Addr().String()
}

// eventually waits for a text in what a command prints.
func eventually(t *testing.T, out *buffer, text string, others ...*buffer) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(out.String(), text) }, 10*time.Second, 5*time.Millisecond, "%q in %s %v", text, out, others)
}

// TestFollowersGoOn: what is followed through a node goes on through another
// one when that node is gone, where it was.
func TestFollowersGoOn(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	s := newShell(t)
	defer s.knows(nodes[0].HTTP(), nodes[1].HTTP())()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var lines, linesErr, events, eventsErr buffer
	watchEvents := s.start(ctx, &events, &eventsErr, "events", "-f", "--after", "now", "--types", "MemberLeft")
	begun := func() bool { return strings.Contains(nodes[0].Log.String(), "path=/rpc") }
	require.Eventually(t, begun, 10*time.Second, 5*time.Millisecond, "from here on it must miss nothing")

	s.in = `{"id":"tick","children":[{"id":"a","run":{"exec":["sh","-c","i=0; while sleep 0.02; do i=$((i+1)); echo line $i.; done"]}}]}`
	s.ok("sandbox", "create", "-", "--node", "n2")
	pid := field(t, s.ok("ps", "--type", "worker"), "tick", 0)
	readLines := s.start(ctx, &lines, &linesErr, "logs", pid, "-f")
	eventually(t, &lines, "line 3.", &linesErr)
	require.Empty(t, events.String())
	require.NoError(t, nodes[0].Stop())
	eventually(t, &linesErr, "going on with another node")
	last := strings.Count(lines.String(), "\n")
	require.Eventually(t, func() bool { return strings.Count(lines.String(), "\n") > last+5 }, 10*time.Second, 5*time.Millisecond, "%s", &linesErr)
	eventually(t, &events, "Gap", &eventsErr)
	eventually(t, &events, "MemberLeft", &eventsErr)
	interrupt()
	require.Zero(t, readLines(), "%s", &linesErr)
	require.Zero(t, watchEvents(), "%s", &eventsErr)

	program := strings.Split(strings.TrimSpace(lines.String()), "\n")
	for i := 2; i < len(program); i++ {
		require.NotEqual(t, program[i-1], program[i], "a line is shown once")
	}
	require.Equal(t, 1, strings.Count(lines.String(), "line 3.\n"))
}

// TestFrozenNode: a node that accepts and does not answer breaks nothing if
// another one is known.
func TestFrozenNode(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	s := newShell(t)
	gone := frozen(t)
	defer s.knows(gone, n.HTTP())()
	s.in = `{"id":"one","children":[{"id":"a","run":{"exec":["sleep","600"]}}]}`
	s.ok("sandbox", "create", "-")
	begun := time.Now()
	require.Contains(t, s.ok("status"), "seen by n1")
	require.Contains(t, s.ok("nodes"), "n1")
	require.Less(t, time.Since(begun), 5*time.Second)

	// It freezes while it is followed: one poll later the other one is asked.
	target, err := url.Parse("http://" + n.HTTP())
	require.NoError(t, err)
	var stopped atomic.Bool
	thaw := make(chan struct{})
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	freezing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stopped.Load() {
			<-thaw
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer freezing.Close()
	defer close(thaw)
	defer s.knows(freezing.URL, n.HTTP())()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var events, errors buffer
	ended := s.start(ctx, &events, &errors, "events", "-f", "--timeout", "300ms")
	eventually(t, &events, "SandboxRunning", &errors)
	stopped.Store(true)
	eventually(t, &errors, "for 300ms; going on with another node")
	s.ok("sandbox", "destroy", "one")
	eventually(t, &events, "SandboxDestroyed", &errors)
	interrupt()
	require.Zero(t, ended(), "%s", &errors)
}

// TestNobodyAnswers: following does not go on for ever where no node answers.
func TestNobodyAnswers(t *testing.T) {
	s := newShell(t)
	defer s.knows(frozen(t), frozen(t))()
	s.fails(5, "no answer from", "events", "-f", "--timeout", "100ms")
	s.fails(5, "no answer from", "status", "--timeout", "100ms")
}
