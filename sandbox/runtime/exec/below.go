package exec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// readBelow takes a snapshot of a process and its descendants alone, from the
// top: in microseconds where a look at all processes takes milliseconds. A program
// that goes on as a child of itself time and again is at another place each time
// that a slow look comes to it. A kernel without these lists gives a slow look.
func readBelow(top int) (table, error) {
	self, err := readProc(top)
	if err != nil {
		return nil, err
	}
	t := table{top: self}
	for line := []int{top}; len(line) > 0; line = line[1:] {
		pids, err := childrenOf(line[0])
		if errors.Is(err, errors.ErrUnsupported) {
			return readTable()
		}
		if scarcity(err) != "" {
			return nil, err
		}
		for _, pid := range pids {
			p, err := readProc(pid)
			switch {
			case scarcity(err) != "":
				return nil, err
			case err == nil && t[pid].PID == 0:
				t[pid] = p
				line = append(line, pid)
			}
		}
	}
	return t, nil
}

// childrenOf lists the children of all threads of a process. One may be missing
// whose sibling ended meanwhile. The error is ErrUnsupported where the kernel has
// no such lists.
func childrenOf(pid int) ([]int, error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer tasks.Close()
	threads, err := tasks.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, thread := range threads {
		raw, err := os.ReadFile(dir + "/" + thread + "/children")
		if errors.Is(err, fs.ErrNotExist) && !hasLists() {
			return nil, errors.ErrUnsupported
		}
		if scarcity(err) != "" {
			return nil, err
		}
		for _, field := range strings.Fields(string(raw)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids, nil
}

// hasLists reports whether the kernel lists the children of a thread: it needs
// CONFIG_PROC_CHILDREN, which distributions set.
func hasLists() bool {
	_, err := os.Stat("/proc/thread-self/children")
	return err == nil
}
