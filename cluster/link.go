package cluster

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/glassbox-dev/glassbox/rpc"
)

// link is all connections with one incarnation of a peer: the one this node
// dialled and the one the peer did.
type link struct {
	peer string
	info Info

	mu      sync.Mutex
	dialled end
	inbound end
}

// end is this node's end of a connection.
type end struct {
	conn *rpc.Conn
	flow *flow // what it reads
}

// flow is a connection's bytes as they come. Between two messages nothing waits
// to come: an answer of the peer would be here. Within one there may be more
// behind it.
type flow struct {
	net.Conn
	within atomic.Int64 // when the newest bytes came that ended within a message, in Unix nanoseconds; 0: never
}

// Read notes whether what came ends within a message: messages are lines.
func (f *flow) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if n > 0 && b[n-1] != '\n' {
		f.within.Store(time.Now().UnixNano())
	}
	return n, err
}

// conn returns the connection for this node's own requests, nil if there is
// none, or no link: the one it dialled, else the peer's.
func (l *link) conn() *rpc.Conn {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialled.conn != nil {
		return l.dialled.conn
	}
	return l.inbound.conn
}

// add takes a connection in; one it replaces is returned to be closed.
func (l *link) add(e end, dialled bool) (replaced end) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := l.slot(dialled)
	replaced, *slot = *slot, e
	return replaced
}

func (l *link) slot(dialled bool) *end {
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
	was = slot.conn == conn
	if was {
		*slot = end{}
	}
	return was, l.dialled.conn != nil || l.inbound.conn != nil
}

// heard is when the newest bytes came from the peer that others may wait
// behind; zero if none did.
func (l *link) heard() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	var at time.Time
	for _, e := range []end{l.dialled, l.inbound} {
		if e.conn == nil {
			continue
		}
		if within := e.flow.within.Load(); within != 0 {
			at = latest(at, time.Unix(0, within))
		}
	}
	return at
}

// close closes all connections.
func (l *link) close(reason error) {
	l.mu.Lock()
	ends := []end{l.dialled, l.inbound}
	l.mu.Unlock()
	for _, e := range ends {
		if e.conn != nil {
			e.conn.Close(reason)
		}
	}
}
