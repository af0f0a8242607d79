package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// filing is a manager that keeps what is printed in a folder.
type filing struct {
	*sandbox.Manager
	dir     string
	runtime *fakeRuntime
	ready   chan struct{} // to be closed when the node has joined
	said    bytes.Buffer  // by the manager; read when it waits
}

func inFiles(t *testing.T, dir string, test func(t *testing.T, f *filing)) {
	synctest.Test(t, func(t *testing.T) {
		f := &filing{dir: dir, runtime: &fakeRuntime{}, ready: make(chan struct{})}
		f.Manager = sandbox.NewManager(sandbox.Config{
			Node: "n1", Incarnation: func() uint64 { return 1 }, Runtime: f.runtime, LogDir: dir,
			Restored: sandbox.Restored{Ready: func() <-chan struct{} { return f.ready }},
			Store:    &rows{sandboxes: map[string]memdb.Sandbox{}, processes: map[string]memdb.Process{}},
			Log:      slog.New(slog.NewTextHandler(&f.said, nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { require.NoError(t, f.Run(ctx)) })
		defer running.Wait()
		defer cancel()
		synctest.Wait()
		test(t, f)
	})
}

// create starts a sandbox of one child and returns its log and its folder.
func (f *filing) create(t *testing.T, id string) (*sandbox.Log, string) {
	t.Helper()
	row, err := f.Create(t.Context(), programs(id, "live"), sandbox.WaitRunning)
	require.NoError(t, err)
	return f.runtime.tasks[len(f.runtime.tasks)-1].Log, filepath.Join(f.dir, id+"."+row.UID)
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}

func TestOutputIsKeptInFiles(t *testing.T) {
	inFiles(t, t.TempDir(), func(t *testing.T, f *filing) {
		log, dir := f.create(t, "shop")
		log.Append(time.Now(), sandbox.Stdout, "n1.1.2", "hello")
		log.Append(time.Now(), sandbox.Stderr, "n1.1.2", "world")
		time.Sleep(time.Second)
		lines := strings.Split(read(t, filepath.Join(dir, "c0.log")), "\n")
		require.Equal(t, []string{
			"2000-01-01T00:00:00.000000Z n1.1.2 system started as os process 1001",
			"2000-01-01T00:00:00.000000Z n1.1.2 stdout hello",
			"2000-01-01T00:00:00.000000Z n1.1.2 stderr world",
			"",
		}, lines)
		info, err := os.Stat(filepath.Join(dir, "c0.log"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		require.NoError(t, f.Destroy(t.Context(), "shop", "ann"))
		time.Sleep(time.Second)
		require.Contains(t, read(t, filepath.Join(dir, "c0.log")), "system ended: ended by SIGKILL", "its last line too")
	})
}

// A flood neither fills the disk nor is it waited for, and what was lost on
// the way is told.
func TestAFloodDoesNotFillTheDisk(t *testing.T) {
	inFiles(t, t.TempDir(), func(t *testing.T, f *filing) {
		log, dir := f.create(t, "shop")
		line := strings.Repeat("x", 1000)
		for range 500 { // 500 MB in five virtual seconds
			for range 10 {
				log.Append(time.Now(), sandbox.Stdout, "n1.1.2", slicesOf(line, 100)...)
			}
			time.Sleep(10 * time.Millisecond)
		}
		log.Append(time.Now(), sandbox.Stdout, "n1.1.2", "last")
		time.Sleep(time.Second)
		newest, before := read(t, filepath.Join(dir, "c0.log")), read(t, filepath.Join(dir, "c0.log.1"))
		require.LessOrEqual(t, len(newest)+len(before), sandbox.DefaultLogFileBytes)
		require.Greater(t, len(newest)+len(before), sandbox.DefaultLogFileBytes/4)
		require.True(t, strings.HasSuffix(newest, "stdout last\n"))
		require.Contains(t, before, "lines came too fast for this file)")
		counts, err := f.Output(f.runtime.tasks[0].PID)
		require.NoError(t, err)
		require.EqualValues(t, 500*1000+2, counts.Lines)
		require.EqualValues(t, 500*1000*1000+len("last")+len("started as os process 1001"), counts.Bytes)
		require.Greater(t, counts.Unfiled, counts.Lines/2)
		require.Less(t, counts.Unfiled, counts.Lines)
	})
}

func slicesOf(line string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = line
	}
	return all
}

// A disk that takes nothing is told once, and counted; the program goes on, and
// so do the files when it takes something again.
func TestADiskThatTakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	require.NoError(t, os.WriteFile(dir, nil, 0o600), "a file where the folder is to be")
	inFiles(t, dir, func(t *testing.T, f *filing) {
		log, folder := f.create(t, "shop")
		for i := range 3 {
			log.Append(time.Now(), sandbox.Stdout, "n1.1.2", fmt.Sprint("line ", i))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.Equal(t, 1, strings.Count(f.said.String(), "is not written to its file"))
		counts, err := f.Output(f.runtime.tasks[0].PID)
		require.NoError(t, err)
		require.EqualValues(t, 4, counts.Unfiled)
		require.NoError(t, os.Remove(dir))
		log.Append(time.Now(), sandbox.Stdout, "n1.1.2", "again")
		time.Sleep(time.Second)
		require.Contains(t, read(t, filepath.Join(folder, "c0.log")), "again")
	})
}

// The files of destroyed sandboxes go, later than they, and all of them when the node
// ends; those of a former life go when the node has joined; nothing else does.
func TestOldFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	stale, foreign := filepath.Join(dir, "old.ABCDEFGHIJKLMNOPQRSTUVWXYZ"), filepath.Join(dir, "mine")
	require.NoError(t, os.Mkdir(stale, 0o700))
	require.NoError(t, os.Mkdir(foreign, 0o700))
	var kept string
	inFiles(t, dir, func(t *testing.T, f *filing) {
		time.Sleep(time.Hour)
		require.DirExists(t, stale, "it may be of one that comes back")
		close(f.ready)
		synctest.Wait()
		require.NoDirExists(t, stale)
		_, kept = f.create(t, "kept")
		var first string
		for i := range 17 {
			_, folder := f.create(t, "shop")
			time.Sleep(time.Second)
			require.DirExists(t, folder)
			if i == 0 {
				first = folder
			}
			require.NoError(t, f.Destroy(t.Context(), "shop", "ann"))
			time.Sleep(time.Second)
		}
		require.NoDirExists(t, first)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, left, 2+16)
	})
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2)
	require.DirExists(t, foreign)
	require.DirExists(t, kept)
}

// The files of children that were deleted go when their logs cannot be read any more,
// unless one that is there has them.
func TestFilesOfDeletedChildren(t *testing.T) {
	inFiles(t, t.TempDir(), func(t *testing.T, f *filing) {
		_, dir := f.create(t, "shop")
		root := f.Processes()[0].PID
		add := func(id string) {
			_, err := f.StartChild(t.Context(), root, named(id, "live", "", ""))
			require.NoError(t, err)
			time.Sleep(time.Second)
			require.FileExists(t, filepath.Join(dir, id+".log"))
		}
		end := func(id string) {
			require.NoError(t, f.TerminateChild(t.Context(), root, id, "ann"))
			require.NoError(t, f.DeleteChild(t.Context(), root, id))
			time.Sleep(time.Second)
		}
		for _, id := range []string{"again", "gone"} {
			add(id)
			end(id)
		}
		add("again")
		require.NoError(t, os.WriteFile(filepath.Join(dir, "gone.log.1"), nil, 0o600))
		for i := range 16 {
			require.FileExists(t, filepath.Join(dir, "gone.log"))
			add(fmt.Sprint("d", i))
			end(fmt.Sprint("d", i))
		}
		require.NoFileExists(t, filepath.Join(dir, "gone.log"))
		require.NoFileExists(t, filepath.Join(dir, "gone.log.1"))
		require.FileExists(t, filepath.Join(dir, "again.log"), "one that runs has it")
		require.FileExists(t, filepath.Join(dir, "d0.log"))
		end("again")
		for i := range 16 {
			add(fmt.Sprint("e", i))
			end(fmt.Sprint("e", i))
		}
		require.NoFileExists(t, filepath.Join(dir, "again.log"))
		require.FileExists(t, filepath.Join(dir, "c0.log"))
	})
}
