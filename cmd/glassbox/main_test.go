package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
)

// TestMain lets the test binary stand for glassbox where that starts itself:
// as a node, as a guardian, as a program of the demo.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "demo") {
		main()
		return
	}
	nodetest.Main(m)
}

// buffer is a bytes.Buffer for one writer and a watcher.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// shell runs commands as a user with an empty home does.
type shell struct {
	t   *testing.T
	env map[string]string
	in  string
}

func newShell(t *testing.T) *shell {
	return &shell{t: t, env: map[string]string{"HOME": t.TempDir()}}
}

// result is what a command did.
type result struct {
	code     int
	out, err string
}

func (s *shell) run(args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	var out, err buffer
	code := s.start(ctx, &out, &err, args...)()
	return result{code, out.String(), err.String()}
}

// start runs a command in the background; what it returns waits for its exit
// code.
func (s *shell) start(ctx context.Context, out, err *buffer, args ...string) (wait func() int) {
	a := &app{in: strings.NewReader(s.in), out: out, err: err, getenv: func(name string) string { return s.env[name] }}
	code := make(chan int, 1)
	go func() { code <- a.run(ctx, args) }()
	return func() int { return <-code }
}

// ok demands success and returns the output.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	r := s.run(args...)
	require.Equal(s.t, 0, r.code, "%v: %s", args, r.err)
	return r.out
}

// fails demands an exit code and a message.
func (s *shell) fails(code int, message string, args ...string) {
	s.t.Helper()
	r := s.run(args...)
	require.Contains(s.t, r.err, message, "%v", args)
	require.Equal(s.t, code, r.code, "%v: %s", args, r.err)
}

func TestUsage(t *testing.T) {
	s := newShell(t)
	require.Contains(t, s.ok("version"), "glassbox ")
	require.Contains(t, s.ok("version", "-o", "json"), `"platform":"linux/`)
	require.Contains(t, s.ok(), "Run a cluster:")
	require.Contains(t, s.ok("sandbox"), "destroy")
	help := s.ok("kill", "--help")
	require.Contains(t, help, "glassbox kill PID")
	require.Contains(t, help, "--reason string")
	s.fails(2, `no command "glassbox stat"`, "stat")
	s.fails(2, "did you mean status?", "statsu")
	s.fails(2, `no command "glassbox sandbox make"`, "sandbox", "make")
	require.Contains(t, s.ok("completion", "bash"), "complete -o default -F __start_glassbox glassbox")
	s.fails(2, `no command "glassbox completion bsh"`, "completion", "bsh")
	require.Contains(t, s.ok("__complete", "sta"), "status\tShow the nodes")
	s.fails(2, "--colour", "ps", "--colour")
	s.fails(2, "takes PID", "kill")
	s.fails(2, "takes no arguments", "ps", "x")
	s.fails(2, `"output": table or json`, "ps", "-o", "xml")
	s.fails(2, "timeout", "ps", "--timeout", "-1s")
	s.fails(2, "METHOD [PARAMS]", "call")
	s.env["GLASSBOX_TIMEOUT"] = "soon"
	s.fails(2, "GLASSBOX_TIMEOUT", "ps")
}
