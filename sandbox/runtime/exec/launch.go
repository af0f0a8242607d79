package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// confinement is how a program is to be confined: what of it is done by the one
// who forks, and what by the shim.
type confinement struct {
	User   int        `json:"user,omitempty"`   // uid and gid; 0 keeps the guardian's
	Bwrap  []string   `json:"bwrap,omitempty"`  // bubblewrap's path and arguments, up to the program
	Group  string     `json:"group,omitempty"`  // its cgroup of version 2, to be started in
	Groups []string   `json:"groups,omitempty"` // those of version 1, to be moved into
	Warm   string     `json:"warm,omitempty"`   // the folder above them, see warm
	Closed []int      `json:"closed,omitempty"` // TCP ports that can be neither connected to nor bound
	Scope  bool       `json:"scope,omitempty"`  // landlock's
	Files  []fileRule `json:"files,omitempty"`  // rules that programs have in common
	Shim   shimPlan   `json:"shim"`
}

// anyGroup is one of its cgroups; "" if it has none.
func (c *confinement) anyGroup() string {
	if c.Group == "" && len(c.Groups) > 0 {
		return c.Groups[0]
	}
	return c.Group
}

// launched is a shim on its way to its program.
type launched struct {
	pid    int           // of what was forked: bubblewrap or the shim itself
	socket *net.UnixConn // to the shim
	said   *os.File      // what bubblewrap prints
}

// launch forks what becomes the confined program. It must be called on a thread
// that outlives the program. Stdio are the program's 0, 1 and 2. The caller must
// close what it returns.
func (c confinement) launch(mark string, stdio [3]int, fork func(func()) error) (*launched, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair: %w", err)
	}
	defer unix.Close(pair[1])
	socket, err := packetSocket(os.NewFile(uintptr(pair[0]), "shim"))
	if err != nil {
		return nil, err
	}
	l := &launched{socket: socket}
	if err := l.start(c, pair[1], mark, stdio, fork); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *launched) start(c confinement, socket int, mark string, stdio [3]int, fork func(func()) error) error {
	if err := passCredentials(l.socket); err != nil {
		return err
	}
	binary, err := syscall.Open("/proc/self/exe", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(binary)
	null, err := syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(null)
	read, said, err := os.Pipe()
	if err != nil {
		return err
	}
	defer said.Close()
	l.said = read
	path, argv := "/proc/self/exe", []string{ownBinary, "guardian", confineArgument}
	if len(c.Bwrap) > 0 {
		path, argv = c.Bwrap[0], append(append(c.Bwrap[:len(c.Bwrap):len(c.Bwrap)], "--"), argv...)
	}
	attr := &syscall.ProcAttr{
		Dir: "/", Env: []string{mark, "GOMAXPROCS=1", "GOGC=off"},
		Files: []uintptr{
			uintptr(null), uintptr(null), said.Fd(), uintptr(socket), uintptr(binary),
			uintptr(stdio[0]), uintptr(stdio[1]), uintptr(stdio[2]),
		},
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	if c.User != 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(c.User), Gid: uint32(c.User)}
	}
	if c.Group != "" {
		group, err := syscall.Open(c.Group, unix.O_PATH|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open its cgroup: %w", err)
		}
		defer syscall.Close(group)
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, group
	}
	var failed error
	if err := fork(func() { l.pid, failed = syscall.ForkExec(path, argv, attr) }); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("start %s: %w", path, failed)
	}
	return nil
}

// passCredentials makes the kernel tell who sends: a pid as seen from here,
// whatever it is in the sender's own namespace.
func passCredentials(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	return errors.Join(err, failed)
}

// greeted waits for the shim and returns its pid.
func (l *launched) greeted() (int, error) {
	_, pid, err := l.recv()
	return pid, err
}

// brief sends the plan. It can be sent before there is anybody to read it.
func (l *launched) brief(p shimPlan) error {
	raw, err := json.Marshal(p)
	if err == nil {
		_, err = l.socket.Write(raw)
	}
	return err
}

// release lets a shim go that was told to wait.
func (l *launched) release() error {
	_, err := l.socket.Write([]byte("{}"))
	return err
}

// outcome waits until the program runs, or for what the shim has to say instead.
func (l *launched) outcome() (*shimReport, error) {
	report, _, err := l.recv()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return report, err
}

func (l *launched) recv() (*shimReport, int, error) {
	buf, oob := make([]byte, 4<<10), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, on, _, _, err := l.socket.ReadMsgUnix(buf, oob)
	if err == nil && n == 0 { // how a packet socket says it
		err = io.EOF
	}
	if err != nil {
		return nil, 0, err
	}
	var r shimReport
	if err := json.Unmarshal(buf[:n], &r); err != nil {
		return nil, 0, err
	}
	controls, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil || len(controls) != 1 {
		return nil, 0, fmt.Errorf("the shim did not show who it is: %w", err)
	}
	cred, err := unix.ParseUnixCredentials(&controls[0])
	if err != nil {
		return nil, 0, err
	}
	return &r, int(cred.Pid), nil
}

// complaint is what bubblewrap printed, in one line.
func (l *launched) complaint() string {
	buf := make([]byte, 1<<10)
	n, _ := l.said.Read(buf) // it has ended, so this returns
	return strings.Join(strings.Fields(string(buf[:n])), " ")
}

func (l *launched) close() {
	l.socket.Close()
	if l.said != nil {
		l.said.Close()
	}
}

// enroll puts a process into cgroups.
func enroll(pid int, folders []string) error {
	for _, folder := range folders {
		if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), fmt.Appendf(nil, "%d", pid), 0); err != nil {
			return err
		}
	}
	return nil
}

// warm moves what was forked into the folder above its program's cgroups, which has
// no limits. The first move after a while makes the kernel wait for all its
// processors, some 10 ms; those that follow soon do not. So the first one is done
// while the shim is still on its way.
func (c confinement) warm(pid int) {
	if c.Warm != "" {
		_ = enroll(pid, []string{c.Warm}) // nothing but time is lost
	}
}
