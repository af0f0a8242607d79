package exec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The three system calls are made here, with the constants of x/sys: go-landlock
// restricts all threads of a process, and here it is to be one; and the package psx
// that it does that with breaks setenv in every binary that is linked with cgo.

// Versions of landlock's interface, by what came with them.
const (
	abiRefer    = 2
	abiTruncate = 3
	abiPorts    = 4
	abiIoctl    = 5
	abiScope    = 6
)

// rights of files, by what a program may do.
const (
	mayRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	mayRun   = mayRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	ofFiles  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	mayWrite = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// handled are the rights about files that an interface knows: all of them are
// refused where no rule grants them.
func handled(abi int) uint64 {
	rights := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1)
	for _, added := range []struct {
		abi   int
		right uint64
	}{{abiRefer, unix.LANDLOCK_ACCESS_FS_REFER}, {abiTruncate, unix.LANDLOCK_ACCESS_FS_TRUNCATE}, {abiIoctl, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV}} {
		if abi >= added.abi {
			rights |= added.right
		}
	}
	return rights
}

// rules are what a landlock domain allows. Nothing but the rules' files may be
// used when there are any, and no rules mean that files are not restricted.
type rules struct {
	Files []fileRule `json:"files,omitempty"`
	// FD is a file that may be run, whatever its path; 0 is none.
	FD int `json:"fd,omitempty"`
	// Ports of TCP that can neither be connected to, on any machine, nor bound: who
	// sits on the port of a dead node would be taken for it.
	Ports []int `json:"ports,omitempty"`
	// Scope keeps signals and abstract sockets inside.
	Scope bool `json:"scope,omitempty"`
}

// fileRule grants rights below a path. One that does not exist grants nothing.
type fileRule struct {
	Path   string `json:"path"`
	Rights uint64 `json:"rights"`
	// Except are files and folders in it that are not granted, see around.
	Except []string `json:"except,omitempty"`
}

// empty reports that there is nothing to restrict.
func (r rules) empty() bool { return len(r.Files) == 0 && len(r.Ports) == 0 && !r.Scope }

// restrict puts this thread, and what it starts, for good under rules, with the
// no_new_privs that this needs. What this machine's landlock cannot do is an
// error: who calls it knows what was found to work.
func restrict(r rules) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if r.empty() {
		return nil
	}
	abi, err := landlockABI()
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	var attr unix.LandlockRulesetAttr
	if len(r.Files) > 0 {
		attr.Handled_access_fs = handled(abi)
	}
	if len(r.Ports) > 0 {
		attr.Handled_access_net = ofPorts
	}
	if r.Scope {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	set, err := newRuleset(&attr)
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	defer unix.Close(set)
	if err := grantFiles(set, r, attr.Handled_access_fs); err != nil {
		return err
	}
	if err := grantPorts(set, r.Ports); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(set), 0, 0); errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	return nil
}

func grantFiles(set int, r rules, known uint64) error {
	if r.FD != 0 {
		attr := unix.LandlockPathBeneathAttr{Allowed_access: (unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE) & known, Parent_fd: int32(r.FD)}
		if err := addRule(set, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&attr)); err != nil {
			return fmt.Errorf("landlock: the node's own program: %w", err)
		}
	}
	var files []fileRule
	for _, f := range r.Files {
		files = append(files, around(os.DirFS("/"), f)...)
	}
	for _, f := range files {
		err := grantFile(set, f, known)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("landlock: %s: %w", f.Path, err)
		}
	}
	return nil
}

func grantFile(set int, f fileRule, known uint64) error {
	fd, err := unix.Open(f.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	rights := f.Rights & known
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= ofFiles
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	return addRule(set, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&attr))
}

// ofPorts are the rights about TCP ports.
const ofPorts = unix.LANDLOCK_ACCESS_NET_CONNECT_TCP | unix.LANDLOCK_ACCESS_NET_BIND_TCP

// grantPorts grants every port but the closed ones: landlock knows no other way to
// say that. It takes 25 ms, and each layer of rules above these costs as much again
// and 4 MB of the kernel's memory: so threads have these rules, not programs.
func grantPorts(set int, closed []int) error {
	if len(closed) == 0 {
		return nil
	}
	shut := make(map[int]bool)
	for _, port := range closed {
		shut[port] = true
	}
	for port := range 1 << 16 {
		if shut[port] {
			continue
		}
		attr := portRule{ofPorts, uint64(port)}
		if err := addRule(set, ruleNetPort, unsafe.Pointer(&attr)); err != nil {
			return fmt.Errorf("landlock: port %d: %w", port, err)
		}
	}
	return nil
}

// ruleNetPort is LANDLOCK_RULE_NET_PORT, and portRule its struct
// landlock_net_port_attr: x/sys has neither.
const ruleNetPort = 2

type portRule struct{ access, port uint64 }

// landlockABI is the version of the kernel's interface.
func landlockABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(abi), nil
}

func newRuleset(attr *unix.LandlockRulesetAttr) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

func addRule(set, kind int, rule unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), uintptr(kind), uintptr(rule), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
