package peercred

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// logEvery bounds how often refusals are logged: a program can make thousands.
const logEvery = 10 * time.Second

// looks is how often the tables are read for an end that is not found: the kernel shows
// them in pieces, and what moves meanwhile can be missed.
const looks = 3

// listener is a listener that turns users away.
type listener struct {
	net.Listener
	first, last uint32
	own         uint32 // the node's own user always comes in
	lookUp      lookup
	log         *slog.Logger

	mu      sync.Mutex
	blind   bool // said that the table cannot be read
	refused int  // so far
	logged  time.Time
}

// Refuse returns a listener that closes connections of the users first to
// first+count-1 of this machine, unless this process is itself one of theirs.
func Refuse(l net.Listener, first, count int, log *slog.Logger) net.Listener {
	r := &listener{Listener: l, first: uint32(first), last: uint32(first + count - 1), own: uint32(os.Geteuid()), lookUp: lookUp, log: log}
	if canAsk(addrPort(l.Addr())) {
		r.lookUp = askFor
	}
	return r
}

// lookup finds the other end of a connection between two sockets of this machine.
type lookup func(remote, local netip.AddrPort) (s socket, found bool, err error)

// Accept waits for the next connection that may come in.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.welcome(c) {
			return c, err
		}
		_ = c.Close() // nothing was said
	}
}

func (l *listener) welcome(c net.Conn) bool {
	remote, local := addrPort(c.RemoteAddr()), addrPort(c.LocalAddr())
	if remote.Addr() != local.Addr() && !IsLocal(remote.Addr()) {
		return true
	}
	s, found, err := l.lookUp(remote, local)
	switch {
	case err != nil:
		l.cannotSee(err)
		return true
	case !found || !s.held:
		l.log.Debug("connection closed: who made it had hung up before it was known who that was", "addr", remote)
		return false
	case s.uid < l.first || s.uid > l.last || s.uid == l.own:
		return true
	}
	l.turnedAway(remote, local, s.uid)
	return false
}

// lookUp is the lookup in the kernel's tables, for kernels that cannot be asked.
func lookUp(remote, local netip.AddrPort) (s socket, found bool, err error) {
	for range looks {
		if remote.Addr().Is4() {
			if s, found, err = lookIn("/proc/net/tcp", false, remote, local); found || err != nil {
				return s, found, err
			}
		}
		// An IPv6 socket can reach an IPv4 address, too; no table means no IPv6.
		if s, found, err = lookIn("/proc/net/tcp6", true, remote, local); os.IsNotExist(err) && remote.Addr().Is4() {
			err = nil
		}
		if found || err != nil {
			return s, found, err
		}
	}
	return s, false, nil
}

func lookIn(path string, six bool, remote, local netip.AddrPort) (socket, bool, error) {
	table, err := os.ReadFile(path)
	if err != nil {
		return socket{}, false, err
	}
	s, found := find(table, six, remote, local)
	return s, found, nil
}

func (l *listener) cannotSee(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.blind {
		l.blind = true
		l.log.Error("it cannot be seen who connects from this machine, so programs of sandboxes are not turned away; mount /proc, or start the node with --token-file",
			"port", l.Addr(), "err", err)
	}
}

func (l *listener) turnedAway(remote, local netip.AddrPort, uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused++
	if now := time.Now(); now.Sub(l.logged) >= logEvery {
		l.logged = now
		l.log.Warn("connection refused: a program of a sandbox made it, and those may not talk to nodes",
			"uid", uid, "addr", remote, "port", local, "refused_so_far", l.refused)
	}
}

// addrPort is an address as the tables have it, without a zone; none if it is not
// one of TCP.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// IsLocal reports whether an address is this machine's own. Where that cannot be
// found out it is not.
func IsLocal(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(own net.Addr) bool {
		prefix, ok := own.(*net.IPNet)
		return ok && prefix.IP.Equal(a.AsSlice())
	})
}
