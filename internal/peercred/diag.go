package peercred

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The kernel is asked for the one socket, see sock_diag(7): its whole table takes it
// some 15 ms to write, however few sockets there are, and this some microseconds.

// Sizes and places in the messages of sock_diag: in an answer the ends of the socket
// come after 4 bytes, in a request after 8.
const (
	sockDiagByFamily = 20
	requestEnds      = unix.SizeofNlMsghdr + 8
	requestSize      = requestEnds + endsSize
	answerEnds       = unix.SizeofNlMsghdr + 4
	answerUID        = answerEnds + endsSize + 12
	answerInode      = answerUID + 4
	answerSize       = answerInode + 4
	endsSize         = 48
	addressesSize    = 36 // of that: both ports, both addresses
)

// ends writes a socket's two ends.
func ends(near, far netip.AddrPort) []byte {
	b := make([]byte, addressesSize)
	binary.BigEndian.PutUint16(b[0:], near.Port())
	binary.BigEndian.PutUint16(b[2:], far.Port())
	copy(b[4:20], near.Addr().AsSlice())
	copy(b[20:36], far.Addr().AsSlice())
	return b
}

// request asks for the socket with these ends. One of IPv6 that talks IPv4 is found
// as one of IPv4.
func request(near, far netip.AddrPort) []byte {
	b := make([]byte, requestSize)
	binary.NativeEndian.PutUint32(b[0:], requestSize)
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	b[unix.SizeofNlMsghdr] = unix.AF_INET
	if near.Addr().Is6() {
		b[unix.SizeofNlMsghdr] = unix.AF_INET6
	}
	b[unix.SizeofNlMsghdr+1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+4:], ^uint32(0)) // in any state
	copy(b[requestEnds:], ends(near, far))
	for i := requestSize - 8; i < requestSize; i++ {
		b[i] = 0xff // whatever its cookie is
	}
	return b
}

// answered reads what the kernel says to a request. The error is ENOENT when there is
// no such socket, or when this kernel cannot be asked.
func answered(b []byte, near, far netip.AddrPort) (socket, error) {
	if len(b) < unix.SizeofNlMsghdr+4 {
		return socket{}, fmt.Errorf("sock_diag: an answer of %d bytes", len(b))
	}
	switch kind := binary.NativeEndian.Uint16(b[4:]); {
	case kind == unix.NLMSG_ERROR:
		return socket{}, fmt.Errorf("sock_diag: %w", unix.Errno(-int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:]))))
	case kind != sockDiagByFamily || len(b) < answerSize:
		return socket{}, fmt.Errorf("sock_diag: an answer of kind %d with %d bytes", kind, len(b))
	}
	// Where there is no such connection the kernel shows who listens at its near end.
	if string(b[answerEnds+0:answerEnds+4]) != string(ends(near, far)[:4]) {
		return socket{}, fmt.Errorf("sock_diag: %w", unix.ENOENT)
	}
	return socket{uid: binary.NativeEndian.Uint32(b[answerUID:]), held: binary.NativeEndian.Uint32(b[answerInode:]) != 0}, nil
}

// ask asks the kernel.
func ask(near, far netip.AddrPort) (socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return socket{}, fmt.Errorf("sock_diag: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, request(near, far), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return socket{}, fmt.Errorf("sock_diag: %w", err)
	}
	// The answer is there when sending returns: nothing is waited for.
	b := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
	if err != nil {
		return socket{}, fmt.Errorf("sock_diag: %w", err)
	}
	return answered(b[:n], near, far)
}

// canAsk reports whether the kernel tells of a listener, which is there for sure.
func canAsk(listener netip.AddrPort) bool {
	none := netip.IPv6Unspecified()
	if listener.Addr().Is4() {
		none = netip.IPv4Unspecified()
	}
	_, err := ask(listener, netip.AddrPortFrom(none, 0))
	return err == nil
}

// askFor is a lookup that asks the kernel.
func askFor(remote, local netip.AddrPort) (s socket, found bool, err error) {
	s, err = ask(remote, local)
	if errors.Is(err, unix.ENOENT) {
		return socket{}, false, nil
	}
	return s, err == nil, err
}
