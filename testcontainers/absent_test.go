package testcontainers

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// nowhere is where no engine is.
const nowhere = "DOCKER_HOST=unix:///nonexistent/docker.sock"

// TestWithoutDocker: tests skip and say why; where Docker is required they fail.
func TestWithoutDocker(t *testing.T) {
	out, err := again("TestThatNeedsDocker", nowhere, requireVariable+"=").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- SKIP: TestThatNeedsDocker")
	require.Contains(t, string(out), "no Docker engine (start one, or say in DOCKER_HOST where it is)")
	require.Contains(t, string(out), "/nonexistent/docker.sock")

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

// TestRyuk: the library's reaper is disabled only where it cannot run.
func TestRyuk(t *testing.T) {
	Need(t)
	e, err := theEngine()
	require.NoError(t, err)
	_, err = e.api.ImageInspect(t.Context(), ryukImage())
	require.Equal(t, err != nil, os.Getenv(ryukDisabled) == "true")
}
