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
	said    bytes.Buffer // by the manager; read when it waits
}

func inFiles(t *testing.T, dir string, test func(t *testing.T, f *filing)) {
	synctest.Test(t, func(t *testing.T) {
		f := &filing{dir: dir, runtime: &fakeRuntime{}}
		f.Manager = sandbox.NewManager(sandbox.Config{
			Node: "n1", Incarnation: func() uint64 { return 1 }, Runtime: f.runtime, LogDir: dir,
			Store: &rows{sandboxes: map[string]memdb.Sandbox{}, processes: map[string]memdb.Process{}},
			Log:   slog.New(slog.NewTextHandler(&f.said, nil)),
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

// The files of destroyed sandboxes go, later than they; those of a former life
// go when the sandboxes that come back are there; nothing else does.
func TestOldFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	stale, foreign := filepath.Join(dir, "old.ABCDEFGHIJKLMNOPQRSTUVWXYZ"), filepath.Join(dir, "mine")
	require.NoError(t, os.Mkdir(stale, 0o700))
	require.NoError(t, os.Mkdir(foreign, 0o700))
	inFiles(t, dir, func(t *testing.T, f *filing) {
		_, kept := f.create(t, "kept")
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
		require.DirExists(t, stale)
		time.Sleep(10 * time.Minute)
		require.NoDirExists(t, stale)
		require.DirExists(t, foreign)
		require.DirExists(t, kept)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, left, 2+16)
	})
}
