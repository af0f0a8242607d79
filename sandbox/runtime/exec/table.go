package exec

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// identity names one process for good: a pid may be used again, but not with
// the same birth.
type identity struct {
	PID   int    `json:"pid"`
	Birth uint64 `json:"birth"` // clock ticks since boot
}

// proc is one row of a table of processes.
type proc struct {
	identity
	name    string // of its program, at most 15 bytes
	parent  int
	session int
	dead    bool // a zombie: it only waits to be reaped
	dying   bool // its first thread has ended, others may still run
	state   byte // as ps shows it: R, S, D …
	stopped bool // by a signal or a debugger: it does nothing until it is continued
}

// String names a process in a sentence.
func (p proc) String() string { return fmt.Sprintf("process %d (%s)", p.PID, p.name) }

// table is a snapshot of the machine's processes. It is not atomic: a process
// may be missing whose parent changed while it was taken.
type table map[int]proc

// readTable takes a snapshot. An error means that it could not be taken whole:
// what is not in it may be there all the same.
func readTable() (table, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	t := make(table, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		switch p, err := readProc(pid); {
		case err == nil:
			t[pid] = p
		case scarcity(err) != "":
			return nil, err
		}
	}
	return t, nil
}

// readProc reads one row; an error means that there is no such process, unless
// it is of a system that has no room.
func readProc(pid int) (proc, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, err
	}
	return parseStat(pid, raw)
}

// parseStat parses /proc/PID/stat, see proc_pid_stat(5).
func parseStat(pid int, raw []byte) (proc, error) {
	// The name is in parentheses and may itself have any character in it.
	begin, end := bytes.IndexByte(raw, '('), bytes.LastIndexByte(raw, ')')
	fields := bytes.Fields(raw[end+1:])
	const state, parent, session, threads, birth = 0, 1, 3, 17, 19
	if begin < 0 || end < begin || len(fields) <= birth {
		return proc{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var err error
	number := func(i int) uint64 {
		n, e := strconv.ParseInt(string(fields[i]), 10, 64)
		if e != nil {
			err = e
		}
		return uint64(n)
	}
	p := proc{
		identity: identity{PID: pid, Birth: number(birth)},
		name:     string(raw[begin+1 : end]),
		parent:   int(number(parent)),
		session:  int(number(session)),
	}
	p.state = fields[state][0]
	p.stopped = fields[state][0] == 'T' || fields[state][0] == 't'
	// A process whose first thread has ended looks like a zombie, but lives.
	p.dying = fields[state][0] == 'Z' || fields[state][0] == 'X'
	alone := number(threads) <= 1
	p.dead = p.dying && alone
	return p, err
}

// children maps each parent to its children.
func (t table) children() map[int][]proc {
	m := make(map[int][]proc)
	for _, p := range t {
		m[p.parent] = append(m[p.parent], p)
	}
	return m
}

// markName is the environment variable that says to which tree a process
// belongs.
const markName = "GLASSBOX_PID"

// readMark returns the tree a process's environment names, "" for none.
func readMark(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return ""
	}
	return markIn(raw)
}

// markIn finds the mark in an environment of NUL-terminated strings.
func markIn(environ []byte) string {
	for line := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(line, []byte(markName+"=")); ok {
			return string(value)
		}
	}
	return ""
}
