package exec_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// shared lists the shared objects of which a user is owner or maker.
func shared(t *testing.T, user string) []string {
	t.Helper()
	var found []string
	for _, kind := range []string{"shm", "msg", "sem"} {
		raw, err := os.ReadFile("/proc/sysvipc/" + kind)
		require.NoError(t, err)
		for line := range strings.Lines(string(raw)) {
			if strings.Contains(line, user) {
				found = append(found, kind)
			}
		}
	}
	return found
}

// Shared memory, queues and semaphores end with the last program of a sandbox.
func TestSharedObjectsEndWithTheirSandbox(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	need(t, r, asked[sandbox.IsolationProcess]...)
	whoami := sh("id -u; sleep 1000")
	whoami.Isolation, whoami.Sandbox = sandbox.IsolationProcess, newID()
	holder := start(t, r, whoami)
	eventually(t, "it tells its user", func() bool { return len(lines(t, whoami.Log)) == 1 })
	user := lines(t, whoami.Log)[0]
	attempt := func(name string) string {
		task := attempting(sandbox.IsolationProcess, name)
		task.Sandbox = whoami.Sandbox
		return said(t, r, task)
	}
	kinds := []string{"shared-memory", "message-queue", "semaphores", "given-away"}
	if !mounts() || user == strconv.Itoa(os.Geteuid()) {
		for _, kind := range kinds {
			require.Contains(t, attempt(kind), notPermitted, "nobody could remove it")
		}
		require.NoError(t, holder.Kill(t.Context()))
		return
	}
	for _, kind := range kinds {
		require.Equal(t, "succeeded", attempt(kind))
	}
	require.ElementsMatch(t, []string{"shm", "shm", "msg", "sem"}, shared(t, user), "they stay while the sandbox lives")
	require.NoError(t, holder.Kill(t.Context()))
	require.Empty(t, shared(t, user))
}

// A work folder has its bound: on a file system of its own, or else for each file.
func TestFillingWork(t *testing.T) {
	const size = 8
	r := startRuntime(t, exec.Config{TmpMB: size})
	need(t, r, asked[sandbox.IsolationProcess]...)
	filling := func(mb int) sandbox.Task {
		return attempting(sandbox.IsolationProcess, "fill", "$TMPDIR", strconv.Itoa(mb))
	}
	want := "no space left"
	if !mounts() {
		want = "file too large"
	}
	require.Equal(t, "succeeded", said(t, r, filling(size-1)))
	require.Contains(t, said(t, r, filling(size+1)), want)
	require.Equal(t, "succeeded", said(t, r, filling(size-1)), "another's is empty")
}

// mounts reports whether this test could mount, as a node beside it.
func mounts() bool { return os.Geteuid() == 0 && capable(capSysAdmin) }

const capSysAdmin = 21

func capable(capability int) bool {
	raw, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(raw), "CapEff:")
	var set uint64
	_, _ = fmt.Sscanf(strings.TrimSpace(after), "%x", &set)
	return set>>capability&1 == 1
}

// What is the node's own is hidden where every program may read, whatever its mode.
func TestProtectedInSystemFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can put a file into a folder of the system")
	}
	dir, err := os.MkdirTemp("/opt", "glassbox-test-")
	if err != nil {
		t.Skipf("there is no folder of the system to write to: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data", "raft"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "etc"), 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, name := range []string{"etc/token", "etc/config", "data/raft/log", "sibling"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	require.NoError(t, os.Symlink("etc/token", filepath.Join(dir, "link")))
	r := startRuntime(t, exec.Config{Protected: []string{filepath.Join(dir, "link"), filepath.Join(dir, "data")}})
	need(t, r, asked[sandbox.IsolationProcess]...)
	try := func(name string) string {
		return said(t, r, attempting(sandbox.IsolationProcess, "read-outside", filepath.Join(dir, name)))
	}
	for _, name := range []string{"etc/token", "link", "data", "data/raft/log"} {
		require.Contains(t, try(name), denied, name)
	}
	for _, name := range []string{"etc/config", "sibling"} {
		require.Equal(t, "succeeded", try(name), name)
	}
	r = startRuntime(t, exec.Config{})
	require.Equal(t, "succeeded", try("etc/token"), "nothing else stands before it")
}

// Message queues of POSIX would stay too, and cannot be listed.
func TestNoPosixQueues(t *testing.T) {
	r := startRuntime(t, exec.Config{})
	need(t, r, asked[sandbox.IsolationProcess]...)
	if unconfined(t, r) {
		require.Equal(t, "succeeded", said(t, r, attempting(sandbox.IsolationNone, "posix-queue")), "without confinement")
	}
	require.Contains(t, said(t, r, attempting(sandbox.IsolationProcess, "posix-queue")), "too many open files")
}

// The mounts of a killed node are gone when it starts again.
func TestWorkFoldersOfAKilledNode(t *testing.T) {
	if !mounts() {
		t.Skip("nothing is mounted here: only root may")
	}
	probe := startRuntime(t, exec.Config{})
	need(t, probe, asked[sandbox.IsolationProcess]...)
	name := newName()
	mounted := func() bool {
		raw, err := os.ReadFile("/proc/self/mountinfo")
		require.NoError(t, err)
		return strings.Contains(string(raw), "glassbox-"+name+"-")
	}
	node := startStandInNodeAt(t, name, 1, sandbox.IsolationProcess)
	require.True(t, mounted())
	node.kill(t)
	require.True(t, mounted(), "nobody was left to unmount them")
	r := startRuntime(t, exec.Config{Node: name})
	need(t, r, asked[sandbox.IsolationProcess]...)
	require.False(t, mounted())
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "glassbox-"+name+"-*"))
	require.NoError(t, err)
	require.Len(t, left, 1, "its own, of this life")
}
