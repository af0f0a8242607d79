package exec_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempts are what a program may try, by name. Each returns nil when it
// succeeded. None does harm when it does: files are opened and not written to,
// processes get no signal, what is made is made in a child or is taken away.
var attempts = map[string]func(args []string) error{
	"core-pattern":       func([]string) error { return open("/proc/sys/kernel/core_pattern", os.O_WRONLY) },
	"shadow":             func([]string) error { return open("/etc/shadow", os.O_RDONLY) },
	"write-system":       func([]string) error { return open("/usr/bin/env", os.O_WRONLY) },
	"read-outside":       func(a []string) error { return open(a[0], os.O_RDONLY) },
	"write-outside":      func(a []string) error { return open(a[0], os.O_WRONLY) },
	"create-outside":     createOutside,
	"kill-other":         func(a []string) error { return unix.Kill(number(a[0]), 0) },
	"memory-of-other":    func(a []string) error { return open("/proc/"+a[0]+"/mem", os.O_RDWR) },
	"files-of-other":     func(a []string) error { return open("/proc/"+a[0]+"/root/etc", os.O_RDONLY) },
	"environ-of-other":   func(a []string) error { return open("/proc/"+a[0]+"/environ", os.O_RDONLY) },
	"ptrace":             func(a []string) error { return unix.PtraceSeize(number(a[0])) },
	"read-memory":        readMemory,
	"become-root":        func([]string) error { return unix.Setresuid(0, 0, 0) },
	"setuid-program":     setuidProgram,
	"vsock":              func([]string) error { return socket(unix.AF_VSOCK, 0) },
	"crypto-socket":      func([]string) error { return socket(unix.AF_ALG, 0) },
	"packet-socket":      func([]string) error { return socket(unix.AF_PACKET, 0) },
	"io-uring":           func([]string) error { return call(unix.SYS_IO_URING_SETUP, 1, 0) },
	"keyctl":             keyctl,
	"userfaultfd":        func([]string) error { return call(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0) },
	"bpf":                func([]string) error { return call(unix.SYS_BPF, 0, 0) },
	"perf":               func([]string) error { return call(unix.SYS_PERF_EVENT_OPEN, 0, 0) },
	"user-namespace":     func([]string) error { return inNamespace(unix.CLONE_NEWUSER) },
	"mount-namespace":    func([]string) error { return inNamespace(unix.CLONE_NEWNS) },
	"mount":              func([]string) error { return unix.Mount("none", "/proc/self/no-such", "tmpfs", 0, "") },
	"pivot-root":         func([]string) error { return unix.PivotRoot("/no-such", "/no-such") },
	"file-handle":        func([]string) error { _, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/", 0); return err },
	"kexec":              func([]string) error { return call(unix.SYS_KEXEC_LOAD, 0, 1<<20) },
	"device":             func([]string) error { return open("/dev/kmsg", os.O_RDONLY) },
	"connect":            func(a []string) error { return connect(number(a[0]), 0, false) },
	"bind":               func(a []string) error { return bind(number(a[0])) },
	"connect-fast-open":  func(a []string) error { return connect(number(a[0]), 0, true) },
	"connect-mptcp":      func(a []string) error { return connect(number(a[0]), mptcp, false) },
	"connect-mptcp-high": func(a []string) error { return connect(number(a[0]), mptcp, false, 1<<40) },
	"abstract-socket":    abstractSocket,
	"fork-bomb":          forkBomb,
	"fill":               fill,
	"eat-memory":         eatMemory,
	"shared-memory":      func([]string) error { return makeShared(unix.SYS_SHMGET, 4096, unix.IPC_CREAT|0o600) },
	"message-queue":      func([]string) error { return makeShared(unix.SYS_MSGGET, unix.IPC_CREAT|0o600, 0) },
	"semaphores":         func([]string) error { return makeShared(unix.SYS_SEMGET, 1, unix.IPC_CREAT|0o600) },
	"given-away":         giveAway,
	"posix-queue":        posixQueue,
}

const mptcp = 262

// attempt is a program that tries one thing and prints how that went.
func attempt(args []string) int {
	if err := attempts[args[0]](args[1:]); err != nil {
		fmt.Println("refused:", err)
		return 1
	}
	fmt.Println("succeeded")
	return 0
}

func number(s string) int { n, _ := strconv.Atoi(s); return n }

func open(path string, flags int) error {
	f, err := os.OpenFile(path, flags, 0)
	if err == nil {
		err = f.Close()
	}
	return err
}

func createOutside(a []string) error {
	path := filepath.Join(a[0], "made")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Remove(path)
}

func call(number, a, b uintptr) error {
	fd, _, errno := unix.Syscall6(number, a, b, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}

func socket(family, protocol int) error {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func keyctl([]string) error {
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_PROCESS_KEYRING, true)
	return err
}

func readMemory([]string) error {
	var from, to [8]byte
	local := []unix.Iovec{{Base: &to[0], Len: 8}}
	remote := []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&from[0])), Len: 8}}
	_, err := unix.ProcessVMReadv(os.Getpid(), local, remote, 0)
	return err
}

// inNamespace runs a program in a namespace of its own.
func inNamespace(flag uintptr) error {
	cmd := osexec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flag}
	return cmd.Run()
}

// setuidProgram starts a program that the file system says is to run as root, and
// looks as whom it does while it waits for a password that never comes.
func setuidProgram([]string) error {
	cmd := osexec.Command("su", "-c", "true")
	hold, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer hold.Close()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(raw), "Name:\tsu\n") {
			continue // it has not become su yet
		}
		for line := range strings.Lines(string(raw)) {
			if f := strings.Fields(line); f[0] == "Uid:" && f[2] != "0" {
				return errors.New("no privileges: it runs as " + f[2])
			}
		}
		return nil
	}
}

// connect reaches a TCP port of this machine; high are bits of an argument that
// the kernel does not look at.
func connect(port, protocol int, fastOpen bool, high ...uintptr) error {
	kind := uintptr(unix.SOCK_STREAM | unix.SOCK_CLOEXEC)
	proto := uintptr(protocol)
	for _, bits := range high {
		proto |= bits
	}
	fd, _, errno := unix.Syscall(unix.SYS_SOCKET, unix.AF_INET, kind, proto)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd))
	to := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if fastOpen {
		return unix.Sendto(int(fd), []byte("x"), unix.MSG_FASTOPEN, to)
	}
	return unix.Connect(int(fd), to)
}

// bind takes a TCP port on an address of this machine that nobody else has.
func bind(port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 2}})
}

func abstractSocket(a []string) error {
	c, err := net.Dial("unix", "@"+a[0])
	if err == nil {
		err = c.Close()
	}
	return err
}

// forkBomb starts so many programs and keeps them until one cannot be started.
func forkBomb(a []string) error {
	for range number(a[0]) {
		cmd := osexec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			fmt.Println("full")
			time.Sleep(time.Hour) // it is killed while all of them live
		}
	}
	return nil
}

// fill writes so many MiB into a folder, whose name may have variables in it.
func fill(a []string) error {
	f, err := os.Create(filepath.Join(os.ExpandEnv(a[0]), "filling"))
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for range number(a[1]) {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return nil
}

var eaten [][]byte

// eatMemory takes so many MiB and touches them.
func eatMemory(a []string) error {
	for range number(a[0]) {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = 1
		}
		eaten = append(eaten, block)
	}
	return nil
}

// makeShared makes a shared object, which stays.
func makeShared(call, second, third uintptr) error {
	_, _, errno := unix.Syscall(call, unix.IPC_PRIVATE, second, third)
	return orNil(errno)
}

// giveAway makes shared memory and makes root its owner, as who made it may.
func giveAway([]string) error {
	id, _, errno := unix.Syscall(unix.SYS_SHMGET, unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600)
	if errno != 0 {
		return errno
	}
	root := unix.SysvShmDesc{}
	_, _, errno = unix.Syscall(unix.SYS_SHMCTL, id, unix.IPC_SET, uintptr(unsafe.Pointer(&root)))
	return orNil(errno)
}

// posixQueue makes a message queue of the other kind, and takes it away again.
func posixQueue([]string) error {
	name := append([]byte("glassbox-attempt-"+strconv.Itoa(os.Getpid())), 0)
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(&name[0])), unix.O_CREAT|unix.O_RDWR|unix.O_EXCL, 0o600, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	_, _, errno = unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(&name[0])), 0, 0)
	return errors.Join(unix.Close(int(fd)), orNil(errno))
}

func orNil(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
