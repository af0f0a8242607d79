package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// clusterContext is a file by which commands find a cluster that
// `glassbox dev` runs. Every dev has one of its own and keeps it locked: the
// kernel unlocks it however the process ends, so an unlocked one is of a dead
// process, also if another one has its pid by now.
type clusterContext struct {
	Cluster string    `json:"cluster"`
	Addrs   []string  `json:"addrs"` // the nodes' HTTP
	PID     int       `json:"pid"`   // of the dev command
	Started time.Time `json:"started"`
}

// contextDir is where the files are; "" if this user has no place for them.
func (a *app) contextDir() string {
	dir := a.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := a.getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "glassbox")
}

// newestContext returns the context of the living dev that was started last,
// the zero one if there is none, and removes those of the dead. Names of files are never used twice, so what
// is removed is what was read.
func newestContext(dir string) (newest clusterContext) {
	if dir == "" {
		return newest
	}
	paths, err := filepath.Glob(filepath.Join(dir, "dev-*.json"))
	if err != nil { // a home with a name like a pattern
		return newest
	}
	for _, path := range paths {
		c, living, err := readContext(path)
		if err == nil && !living {
			_ = os.Remove(path) // it is ignored the next time too
		}
		if err == nil && living && c.Started.After(newest.Started) {
			newest = c
		}
	}
	return newest
}

// readContext reads a context, if the process whose it is lives.
func readContext(path string) (c clusterContext, living bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return c, false, err
	}
	defer f.Close() // which unlocks it
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return c, false, err
	}
	return c, true, json.NewDecoder(f).Decode(&c)
}

// announce writes a context and keeps it until it is withdrawn. The file gets
// its name when it is whole and locked, so that nobody reads half of it or
// takes it for a dead one's.
func announce(dir string, c clusterContext) (withdraw func() error, err error) {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, ".dev-*.json")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, strings.TrimPrefix(filepath.Base(f.Name()), "."))
	_, err = f.Write(append(raw, '\n'))
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return func() error { return errors.Join(os.Remove(path), f.Close()) }, nil
}
