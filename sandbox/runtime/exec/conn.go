package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPacket bounds a message, in bytes: the socket's buffer must hold it. The
// largest is a start: maxProgram in base64, and two paths of up to 4 KiB that may
// have to be escaped.
const maxPacket = 320 << 10

// errTooLarge says that the kernel does not take a message of this size.
var errTooLarge = errors.New("the kernel takes no message of this size to the guardian: raise sysctl net.core.wmem_max to 212992, its default")

// Operations of a message.
const (
	opHello       = "hello"        // guardian: I am OSPID, the first message
	opStart       = "start"        // node: start Argv; files follow: stdout, stderr and, if it is to have one, stdin
	opStarted     = "started"      // guardian: it runs as OSPID
	opStartFailed = "start_failed" // guardian: it does not, Error says why
	opSignal      = "signal"       // node: send Signal to the program itself
	opKill        = "kill"         // node: kill the whole tree; the answer is exited
	opExited      = "exited"       // guardian: it ended, and nothing of it is left
	opStuck       = "stuck"        // guardian: it was killed, and does not end; Error says what is left
	opMembers     = "members"      // guardian: processes of trees that cannot be told from outside
	opPing        = "ping"         // node: are you there?
	opPong        = "pong"         // guardian: yes
)

// message is one packet between node and guardian. Which fields are used is
// said at the operations.
type message struct {
	Op        string       `json:"op"`
	ID        string       `json:"id,omitempty"` // the tree's: Glassbox's pid
	Path      string       `json:"path,omitempty"`
	Argv      []byte       `json:"argv,omitempty"` // packed
	Env       []byte       `json:"env,omitempty"`  // packed
	Dir       string       `json:"dir,omitempty"`
	OSPID     int          `json:"os_pid,omitempty"`
	Birth     uint64       `json:"birth,omitempty"`   // of OSPID
	Brand     brand        `json:"brand,omitempty"`   // of the program; in a start what it is to be below
	Payload   int          `json:"payload,omitempty"` // the program itself, where OSPID is bubblewrap
	Confine   *confinement `json:"confine,omitempty"`
	Signal    int          `json:"signal,omitempty"`
	Code      int          `json:"code,omitempty"`
	Leftovers int          `json:"leftovers,omitempty"` // processes it left behind, killed
	Members   []identity   `json:"members,omitempty"`
	Error     string       `json:"error,omitempty"`

	held *holdings // of a start: what is given back at the program's end; not sent
}

// conn is one end of the socket between node and guardian.
type conn struct {
	unix *net.UnixConn
	buf  []byte // of recv
}

// newConn takes over the file of a SOCK_SEQPACKET socket.
func newConn(f *os.File) (*conn, error) {
	u, err := packetSocket(f)
	if err != nil {
		return nil, err
	}
	return &conn{unix: u, buf: make([]byte, maxPacket+1)}, nil
}

// packetSocket takes over the file of a SOCK_SEQPACKET socket, and makes room for
// the largest message.
func packetSocket(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unixpacket" {
		c.Close()
		return nil, fmt.Errorf("%s is no unix packet socket", f.Name())
	}
	// The kernel doubles it, and bounds it by net.core.wmem_max without a word.
	if err := u.SetWriteBuffer(maxPacket/2 + 4<<10); err != nil {
		c.Close()
		return nil, err
	}
	return u, nil
}

// send sends one message, whole or not at all, and passes descriptors along. It
// waits while the other end is behind with reading, and fails when that is gone.
// It may be called from several goroutines at once.
func (c *conn) send(m message, fds ...int) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(raw) > maxPacket {
		return errTooLarge
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.unix.WriteMsgUnix(raw, rights, nil)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		return errTooLarge
	}
	return err
}

// recv returns the next message and the descriptors that came with it, which
// close on exec. It is called from one goroutine.
func (c *conn) recv() (message, []int, error) {
	var rights [64]byte // room for three descriptors and more
	n, rn, flags, _, err := c.unix.ReadMsgUnix(c.buf, rights[:])
	if err != nil {
		return message{}, nil, err
	}
	fds, err := parseRights(rights[:rn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("a message was cut off after %d bytes", n)
	}
	var m message
	if err == nil {
		err = json.Unmarshal(c.buf[:n], &m)
	}
	if err != nil {
		closeAll(fds)
		return message{}, nil, err
	}
	return m, fds, nil
}

func parseRights(raw []byte) ([]int, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(raw)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range messages {
		some, err := unix.ParseUnixRights(&m)
		if err != nil {
			closeAll(fds)
			return nil, err
		}
		fds = append(fds, some...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}
