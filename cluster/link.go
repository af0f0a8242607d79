package cluster

import (
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/rpc"
)

// link is all connections with one incarnation of a peer: the one this node
// dialled and the one the peer did.
type link struct {
	peer string
	info Info

	mu      sync.Mutex
	dialled *rpc.Conn
	inbound *rpc.Conn
}

// conn returns the connection for this node's own requests, nil if there is
// none, or no link: the one it dialled, else the peer's.
func (l *link) conn() *rpc.Conn {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialled != nil {
		return l.dialled
	}
	return l.inbound
}

// add takes a connection in; one it replaces is returned to be closed.
func (l *link) add(conn *rpc.Conn, dialled bool) (replaced *rpc.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := l.slot(dialled)
	replaced, *slot = *slot, conn
	return replaced
}

func (l *link) slot(dialled bool) **rpc.Conn {
	if dialled {
		return &l.dialled
	}
	return &l.inbound
}

// remove takes a connection out that has ended. was is false if it had been
// replaced already; rest tells whether another one is left.
func (l *link) remove(conn *rpc.Conn, dialled bool) (was, rest bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := l.slot(dialled)
	was = *slot == conn
	if was {
		*slot = nil
	}
	return was, l.dialled != nil || l.inbound != nil
}

// lastRead is when the newest bytes came from the peer; zero if it is not
// connected.
func (l *link) lastRead() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	var at time.Time
	for _, conn := range []*rpc.Conn{l.dialled, l.inbound} {
		if conn != nil {
			at = latest(at, conn.LastRead())
		}
	}
	return at
}

// close closes all connections.
func (l *link) close(reason error) {
	l.mu.Lock()
	conns := []*rpc.Conn{l.dialled, l.inbound}
	l.mu.Unlock()
	for _, conn := range conns {
		if conn != nil {
			conn.Close(reason)
		}
	}
}
