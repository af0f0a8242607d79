package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// RSS returns a process's resident memory in bytes, the binary's own pages
// included (VmRSS in /proc/PID/status).
func RSS(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS: it has ended", pid)
}

// Marked returns the pids of all processes whose initial environment contains
// the text: what a node's programs inherit finds them wherever they went.
func Marked(text string) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, dir := range dirs {
		raw, err := os.ReadFile(dir + "/environ")
		if err != nil || !bytes.Contains(raw, []byte(text)) {
			continue // it has ended meanwhile, or is not ours
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// stopped reports whether a process is stopped by a signal: state T in
// proc_pid_stat(5), behind the name in parentheses.
func stopped(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, found := bytes.Cut(raw, []byte(") "))
	return err == nil && found && len(rest) > 0 && rest[0] == 'T'
}
