package peercred

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
)

// socket is one end of a connection on this machine.
type socket struct {
	uid uint32
	// held says that some process still has it. The kernel says of a socket that
	// nobody holds any more that root's it was.
	held bool
}

// Columns of a row of /proc/net/tcp, see proc_pid_net(5).
const (
	columnUID   = 7
	columnInode = 9
)

// find looks in the content of /proc/net/tcp, or tcp6 if six, for the socket from
// which an accepted connection comes: its near end is our far one. What is no table
// has no sockets.
func find(table []byte, six bool, remote, local netip.AddrPort) (s socket, found bool) {
	ends := []byte(" " + end(remote, six) + " " + end(local, six) + " ")
	at := bytes.Index(table, ends)
	if at < 0 {
		return socket{}, false
	}
	start := bytes.LastIndexByte(table[:at], '\n') + 1
	row, _, _ := bytes.Cut(table[start:], []byte("\n"))
	columns := bytes.Fields(row)
	if len(columns) <= columnInode {
		return socket{}, false
	}
	uid, err := strconv.ParseUint(string(columns[columnUID]), 10, 32)
	if err != nil {
		return socket{}, false
	}
	return socket{uid: uint32(uid), held: string(columns[columnInode]) != "0"}, true
}

// end writes an address as the kernel does in these tables: words of 32 bits, each
// in the machine's own order of bytes.
func end(a netip.AddrPort, six bool) string {
	raw := a.Addr().AsSlice()
	if six {
		long := a.Addr().As16()
		raw = long[:]
	}
	var text []byte
	for ; len(raw) >= 4; raw = raw[4:] {
		text = fmt.Appendf(text, "%08X", binary.NativeEndian.Uint32(raw))
	}
	return fmt.Sprintf("%s:%04X", text, a.Port())
}
