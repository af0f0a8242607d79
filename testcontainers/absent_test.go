package testcontainers

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// nowhere is where no engine is.
const nowhere = "DOCKER_HOST=unix:///nonexistent/docker.sock"

// TestWithoutDocker: tests skip and say why; where Docker is required they fail.
func TestWithoutDocker(t *testing.T) {
	out, err := again("TestThatNeedsDocker", nowhere, requireVariable+"=").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- SKIP: TestThatNeedsDocker")
	require.Contains(t, string(out), "no Docker engine: there is no socket at unix:///nonexistent/docker.sock")

	out, err = again("TestThatNeedsDocker", nowhere, requireVariable+"=1").CombinedOutput()
	require.ErrorContains(t, err, "exit status 1")
	require.Contains(t, string(out), "--- FAIL: TestThatNeedsDocker")
	require.Contains(t, string(out), "GLASSBOX_REQUIRE is set")
}

func TestThatNeedsDocker(t *testing.T) {
	onlyAsChild(t)
	_, err := Start(t.Context(), Options{Nodes: 1, Binary: os.Args[0]})
	require.Error(t, err)
	Need(t)
}

// TestNoAnswer: each reason is told in one sentence, with what to do about it.
func TestNoAnswer(t *testing.T) {
	for want, failure := range map[string]error{
		"there is no socket at unix:///some/docker.sock; start an engine": syscall.ENOENT,
		"no permission to use it; become a member of the group":           syscall.EACCES,
		"nobody answers at unix:///some/docker.sock":                      syscall.ECONNREFUSED,
	} {
		dial := func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", failure)}
		}
		_, err := ask(t.Context(), client.WithHost("unix:///some/docker.sock"), client.WithDialContext(dial))
		require.ErrorIs(t, err, errNoEngine)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := ask(t.Context(), client.WithHost("nonsense"))
	require.Error(t, err)
	require.NotErrorIs(t, err, errNoEngine, "that is a mistake, for which no test may skip")
}

func TestRootlessSockets(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	t.Setenv("HOME", "/home/a")
	require.Equal(t, []string{"/run/user/7/docker.sock", "/home/a/.docker/run/docker.sock"}, rootlessSockets())
	t.Setenv("XDG_RUNTIME_DIR", "")
	require.Equal(t, []string{"/home/a/.docker/run/docker.sock"}, rootlessSockets())
}

// TestSetUnlessSaid: what somebody has said is left as it is, also if that is
// nothing.
func TestSetUnlessSaid(t *testing.T) {
	const variable = "GLASSBOX_TEST_SAID"
	for _, said := range []string{"", "false"} {
		t.Setenv(variable, said)
		setUnlessSaid(variable, "true")
		require.Equal(t, said, os.Getenv(variable))
	}
	require.NoError(t, os.Unsetenv(variable)) // t.Setenv puts it back
	setUnlessSaid(variable, "true")
	require.Equal(t, "true", os.Getenv(variable))
}

// TestBehindAMirror: where the images of Docker Hub come by way of another
// registry, ours still is found.
func TestBehindAMirror(t *testing.T) {
	Need(t)
	out, err := again("TestStartsBehindAMirror", "TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX=mirror.example/hub", binaryVariable+"="+binary(t)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestStartsBehindAMirror")
}

func TestStartsBehindAMirror(t *testing.T) {
	onlyAsChild(t)
	c, err := Start(within(t, 30*time.Second), Options{Nodes: 1, Binary: os.Getenv(binaryVariable)})
	require.NoError(t, err)
	_, err = harness.WaitJoined(within(t, 30*time.Second), c) // before that it would not leave
	require.NoError(t, err)
	require.NoError(t, c.Close())
}
