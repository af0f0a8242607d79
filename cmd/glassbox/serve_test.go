package main

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node"
)

// process is a node of its own, with a log.
type process struct {
	*exec.Cmd
	log   buffer
	ended chan error
}

// startProcess runs a command and waits until the node it starts has joined.
func startProcess(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(name, args...), ended: make(chan error, 1)}
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := p.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	go func() {
		_, copied := io.Copy(&p.log, stderr)
		if err := p.Wait(); err != nil {
			copied = err
		}
		p.ended <- copied
	}()
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "joined the cluster") }, 10*time.Second, 10*time.Millisecond, "%s", &p.log)
	return p
}

// end waits until the process has ended well.
func (p *process) end(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.ended:
		require.NoError(t, err, "%s", &p.log)
	case <-time.After(20 * time.Second):
		require.NoError(t, p.Process.Kill())
		require.FailNow(t, "it does not end", "%s", &p.log)
	}
}

// TestHangup: a closed terminal ends a node like SIGTERM does, unless it was
// started to survive that.
func TestHangup(t *testing.T) {
	// Whoever runs the tests may ignore it, and what is ignored is inherited;
	// what is caught is not.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	exe, err := os.Executable()
	require.NoError(t, err)
	serve := []string{exe, "serve", "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0"}
	p := startProcess(t, serve[0], serve[1:]...)
	require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	p.end(t)
	require.Contains(t, p.log.String(), "draining")
	require.Contains(t, p.log.String(), "msg=ended")

	p = startProcess(t, "sh", append([]string{"-c", `trap "" HUP; exec "$@"`, "nohup"}, serve...)...)
	require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	p.end(t)
	require.Contains(t, p.log.String(), `why="terminated`)
}

// TestWarnOfReaders: a secret that every user can read is told of.
func TestWarnOfReaders(t *testing.T) {
	cfg := node.DefaultConfig()
	cfg.SecretFile = write(t, "secret", "battery staple")
	cfg.TokenFile = write(t, "token", "correct horse")
	var log buffer
	require.NoError(t, os.Chmod(cfg.SecretFile, 0o640))
	require.NoError(t, os.Chmod(cfg.TokenFile, 0o600))
	warnOfReaders(newLog(&log, cfg), cfg)
	require.Empty(t, log.String())
	require.NoError(t, os.Chmod(cfg.TokenFile, 0o604))
	warnOfReaders(newLog(&log, cfg), cfg)
	require.Contains(t, log.String(), "file="+cfg.TokenFile+" mode=-rw----r--")
	require.NotContains(t, log.String(), cfg.SecretFile)
}
