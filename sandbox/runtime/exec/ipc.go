package exec

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ipcKind is a kind of System V's shared objects: they belong to no process and to
// no cgroup, and stay until somebody removes them.
type ipcKind struct {
	table  string // below /proc/sysvipc
	id     string // the column with the object's number
	remove func(id int) error
}

var ipcKinds = []ipcKind{
	{"shm", "shmid", func(id int) error { return ipcControl(unix.SYS_SHMCTL, id, unix.IPC_RMID, 0) }},
	{"msg", "msqid", func(id int) error { return ipcControl(unix.SYS_MSGCTL, id, unix.IPC_RMID, 0) }},
	{"sem", "semid", func(id int) error { return ipcControl(unix.SYS_SEMCTL, id, 0, unix.IPC_RMID) }},
}

func ipcControl(call uintptr, id, second, third int) error {
	if _, _, errno := unix.Syscall6(call, uintptr(id), uintptr(second), uintptr(third), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// ipcObject is a shared object. Its owner may give it to another user, so who made
// it counts as well.
type ipcObject struct{ id, owner, maker int }

// parseIPC reads a table of /proc/sysvipc, whose first line names the columns.
func parseIPC(table, id string) []ipcObject {
	var objects []ipcObject
	var columns map[string]int
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if columns == nil {
			columns = make(map[string]int)
			for at, name := range fields {
				columns[name] = at
			}
			continue
		}
		number := func(name string) int {
			at, known := columns[name]
			if !known || at >= len(fields) {
				return -1
			}
			n, err := strconv.Atoi(fields[at])
			if err != nil {
				return -1
			}
			return n
		}
		objects = append(objects, ipcObject{id: number(id), owner: number("uid"), maker: number("cuid")})
	}
	return objects
}

// removeIPC removes the shared objects of users, and returns how many there were.
// A kernel without such objects has no tables.
func removeIPC(of func(user int) bool) (removed int) {
	for _, kind := range ipcKinds {
		table, _ := os.ReadFile("/proc/sysvipc/" + kind.table)
		for _, o := range parseIPC(string(table), kind.id) {
			if (of(o.owner) || of(o.maker)) && kind.remove(o.id) == nil {
				removed++
			}
		}
	}
	return removed
}

// sweepIPC removes the shared objects that killed nodes left: those of users for
// sandboxes of whom no process is left. Nodes of this machine share the range.
func sweepIPC(first, count int, log *slog.Logger) {
	var living map[int]bool // nil: not looked yet, there are hardly ever any objects
	removed := removeIPC(func(user int) bool {
		if user < first || user >= first+count {
			return false
		}
		if living == nil {
			living = livingUsers()
		}
		return !living[user]
	})
	if removed > 0 {
		log.Info("shared memory, queues and semaphores that an ended node's sandboxes have left were removed", "objects", removed)
	}
}

// livingUsers are the users that have processes.
func livingUsers() map[int]bool {
	users := make(map[int]bool)
	t, _ := readTable()
	for pid := range t {
		// Not the owner of its folder: that is root for one that hides its memory.
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, ids, _ := strings.Cut(string(status), "\nUid:")
		var user int
		if n, _ := fmt.Sscan(ids, &user); n == 1 {
			users[user] = true
		}
	}
	return users
}

// noQueues lets no message queue of POSIX be made: those stay as well, and only who
// mounts their file system can list them.
var noQueues = rlimit{Resource: unix.RLIMIT_MSGQUEUE}
