package sandbox

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// tidyAfter is how long after its start a manager removes the files of sandboxes
// that it does not have: those that come back with the node are there by then.
const tidyAfter = 10 * time.Minute

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
}

// keepLog begins to keep the slot's log on disk, if there is a folder for it.
func (s *slot) keepLog() {
	m := s.tree.m
	if m.cfg.LogDir == "" {
		return
	}
	f := &logFile{
		path: filepath.Join(m.logDir(s.tree), url.PathEscape(s.path)+".log"), each: m.cfg.LogFileBytes / 2, log: s.log,
		fails: func(err error) {
			m.cfg.Log.Error("output of a program is not written to its file: it is in memory only, and counted", "sandbox", s.tree.spec.ID, "child", s.path, "error", err)
		},
	}
	m.tasks.Go(f.run) // the tree, a task itself, runs
}

// run copies until the log is closed and all of it is on disk.
func (f *logFile) run() {
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

func (m *Manager) removed(dir string, err error) {
	if err != nil {
		m.cfg.Log.Error("old output was not removed: remove it by hand", "folder", dir, "error", err)
	}
}

// tidyLogs removes, once, what former lives of the node left.
func (m *Manager) tidyLogs(ctx context.Context) {
	timer := time.NewTimer(tidyAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
		m.removeOldLogs()
	case <-ctx.Done():
	}
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
