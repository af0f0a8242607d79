package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Bounds of a slot's files.
const (
	// DefaultLogFileBytes is what the two files of a slot have together at most:
	// the one that is written, and the one before it.
	DefaultLogFileBytes = 4 << 20
	minLogFileBytes     = 1 << 20 // a batch must fit into one of them

	filePause = 25 * time.Millisecond // between two writes: it bounds what a flood costs the disk
	fileBatch = 1024                  // lines written at once, at most
)

// logFile keeps a slot's log on disk. It is a reader of the log like any other:
// a slow or full disk holds up no program, and what it was too slow for is
// counted. The file is opened for each batch of lines, so that a thousand slots
// hold no descriptors.
//
// lumberjack is the library for this. It starts a goroutine per file that no Close
// ends, and a flood goes to the disk as fast as that takes it.
type logFile struct {
	path  string // of the newest; the one before it has .1
	each  int64  // bytes of one of the two, at most
	log   *Log
	fails func(err error) // told when writing begins to fail
	bad   bool            // the last write failed
	done  chan struct{}   // closed when nothing will be written any more
}

// logFiles counts the slots that have a file: one that is no more and one that has its
// path now share it.
type logFiles struct {
	mu   sync.Mutex
	used map[string]int // by path
}

// keepLog begins to keep the slot's log on disk, if there is a folder for it.
func (s *slot) keepLog() {
	m := s.tree.m
	if m.cfg.LogDir == "" {
		return
	}
	f := &logFile{
		done: make(chan struct{}),
		path: filepath.Join(m.logDir(s.tree), url.PathEscape(s.path)+".log"), each: m.cfg.LogFileBytes / 2, log: s.log,
		fails: func(err error) {
			m.cfg.Log.Error("output of a program is not written to its file: it is in memory only, and counted", "sandbox", s.tree.spec.ID, "child", s.path, "error", err)
		},
	}
	s.tree.files.use(f.path)
	s.mu.Lock()
	s.file = f
	s.mu.Unlock()
	m.tasks.Go(f.run) // the tree, a task itself, runs
}

// dropLog removes the files of a slot that is no more, unless another one has them,
// when the last of it was written. It does not wait.
func (t *tree) dropLog(s *slot) {
	s.mu.Lock()
	f := s.file
	s.file = nil
	s.mu.Unlock()
	if f != nil {
		t.m.later(func(context.Context) {
			<-f.done
			t.m.removed(f.path, t.files.leave(f.path))
		})
	}
}

func (l *logFiles) use(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used == nil {
		l.used = make(map[string]int)
	}
	l.used[path]++
}

// leave removes the files when nobody uses them any more.
func (l *logFiles) leave(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used[path]--; l.used[path] > 0 {
		return nil
	}
	delete(l.used, path)
	for _, one := range []string{path, path + ".1"} {
		if err := os.Remove(one); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// run copies until the log is closed and all of it is on disk.
func (f *logFile) run() {
	defer close(f.done)
	for after := uint64(0); ; {
		entries, next, missed, err := f.log.Read(context.Background(), after, fileBatch, true)
		if err != nil {
			return
		}
		f.take(entries, missed)
		after = next
		if !f.log.Ended(after) {
			time.Sleep(filePause)
		}
	}
}

// take writes a batch of lines.
func (f *logFile) take(entries []LogEntry, missed uint64) {
	f.log.notFiled(missed)
	var batch []byte
	if missed > 0 {
		batch = fmt.Appendf(batch, "(%d lines came too fast for this file)\n", missed)
	}
	for _, e := range entries {
		batch = fmt.Appendf(batch, "%s %s %s %s\n", stamp(e.Time), e.PID, e.Stream, e.Line)
	}
	err := f.write(batch)
	if err != nil {
		f.log.notFiled(uint64(len(entries)))
		if !f.bad {
			f.fails(err)
		}
	}
	f.bad = err != nil
}

// write appends a batch, to a new file if it is too much for the old one.
func (f *logFile) write(batch []byte) error {
	if info, err := os.Stat(f.path); err == nil && info.Size()+int64(len(batch)) > f.each {
		if err := os.Rename(f.path, f.path+".1"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(batch)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// logDirForm is the name of a sandbox's folder: its id and its uid.
var logDirForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}\.[A-Z2-7]{26}$`)

// logDir is the folder of a sandbox's files.
func (m *Manager) logDir(t *tree) string {
	return filepath.Join(m.cfg.LogDir, t.spec.ID+"."+t.current().UID)
}

// removeLogs removes the files of a sandbox that was destroyed.
func (m *Manager) removeLogs(t *tree) {
	if m.cfg.LogDir != "" {
		m.removed(m.logDir(t), os.RemoveAll(m.logDir(t)))
	}
}

func (m *Manager) removed(path string, err error) {
	if err != nil {
		m.cfg.Log.Error("old output was not removed: remove it by hand", "path", path, "error", err)
	}
}

// removeGone removes the files of all sandboxes that were destroyed: nobody can ask
// for their logs any more.
func (m *Manager) removeGone() {
	m.mu.Lock()
	gone := m.gone
	m.mu.Unlock()
	for _, t := range gone {
		if t.isDestroyed() {
			m.removeLogs(t)
		}
	}
}

// tidyLogs removes, once, what former lives of the node left, when this one has joined.
func (m *Manager) tidyLogs(ctx context.Context) {
	if m.cfg.Restored.Ready != nil {
		select {
		case <-m.cfg.Restored.Ready():
		case <-ctx.Done():
			return
		}
	}
	m.removeOldLogs()
}

// removeOldLogs removes the files of sandboxes that are not there.
func (m *Manager) removeOldLogs() {
	entries, err := os.ReadDir(m.cfg.LogDir)
	if err != nil {
		return // nothing was ever written
	}
	m.mu.Lock() // after reading the folder: a tree is here before its files are
	trees := slices.Concat(slices.Collect(maps.Values(m.trees)), m.gone)
	m.mu.Unlock()
	known := make(map[string]bool)
	for _, t := range trees {
		known[m.logDir(t)] = true
	}
	for _, e := range entries {
		dir := filepath.Join(m.cfg.LogDir, e.Name())
		if logDirForm.MatchString(e.Name()) && !known[dir] {
			m.removed(dir, os.RemoveAll(dir))
		}
	}
}
