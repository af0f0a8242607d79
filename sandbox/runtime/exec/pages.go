package exec

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// givePagesBack takes the pages of the binary that only its start needed out of
// this process's resident memory. The guardian is the node's own binary: the
// start of everything else in it touches some 8 MB that the guardian never
// needs again. Read-only pages of a file lose nothing: the kernel maps them
// again when they are touched (madvise(2), MADV_DONTNEED).
func givePagesBack() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for _, m := range readOnly(string(maps), exe) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// readOnly finds the mappings of a file that cannot have been written to, in
// the format of proc_pid_maps(5).
func readOnly(maps, file string) []mapping {
	var found []mapping
	for line := range strings.Lines(maps) {
		fields := strings.Fields(line)
		if len(fields) != 6 || fields[5] != file || fields[1] != "r-xp" && fields[1] != "r--p" {
			continue
		}
		var m mapping
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &m.from, &m.to); err == nil {
			found = append(found, m)
		}
	}
	return found
}
