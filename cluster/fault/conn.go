package fault

import (
	"net"
	"sync"
	"time"
)

// sinkTimeout bounds a write of what was held.
const sinkTimeout = time.Second

// conn is a connection that faults apply to.
type conn struct {
	net.Conn
	table   *Table
	in, out *lane

	mu      sync.Mutex
	peer    string // guarded by the table's mu too when it is set; "" until identified
	pumping bool   // what comes goes over the lane from now on
	sinking bool   // a goroutine writes what is on the lane
	rest    []byte // of the chunk being read
	closed  bool
}

func newConn(t *Table, nc net.Conn) *conn {
	return &conn{Conn: nc, table: t, in: newLane(t, In), out: newLane(t, Out)}
}

// identify says whose connection it is.
func (c *conn) identify(peer string) {
	c.table.mu.Lock()
	c.peer = peer
	c.table.mu.Unlock()
	c.in.set(func() { c.in.peer = peer })
	c.out.set(func() { c.out.peer = peer })
}

// Read reads what no rule holds. Until the first fault it reads from the
// connection itself.
func (c *conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	pumping := c.pumping
	c.mu.Unlock()
	if !pumping {
		n, err := c.Conn.Read(b)
		if c.isClosed() {
			return 0, net.ErrClosed
		}
		if !c.in.held() {
			return n, err
		}
		// A fault began while it waited: this chunk is the first that is held.
		if !c.pump(chunk{data: append([]byte(nil), b[:n]...), at: time.Now(), err: err}) {
			return n, err
		}
	}
	if len(c.rest) == 0 {
		got, _, err := c.in.take(true)
		if err != nil {
			return 0, err
		}
		if len(got.data) == 0 {
			return 0, got.err
		}
		c.rest = got.data
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// pump begins to read ahead; false if the table is closed.
func (c *conn) pump(first chunk) bool {
	return c.table.start(func() {
		c.mu.Lock()
		c.pumping = true
		c.mu.Unlock()
	}, func() {
		end := first.err
		first.err = nil
		if len(first.data) > 0 && c.in.put(first) != nil {
			return
		}
		if end != nil {
			_ = c.in.put(chunk{at: first.at, err: end}) // closed: nobody wants to know
			return
		}
		c.in.pump(c.Conn)
	})
}

// Write writes at once, or puts on the lane what has to wait.
func (c *conn) Write(b []byte) (int, error) {
	if !c.out.held() && !c.busy() {
		return c.Conn.Write(b)
	}
	if err := c.out.put(chunk{data: append([]byte(nil), b...), at: time.Now()}); err != nil {
		return 0, err
	}
	c.sink()
	return len(b), nil
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sinking
}

// sink starts the goroutine that writes what is held, if none runs. If the
// table is closed nothing is held any more, and it runs here.
func (c *conn) sink() {
	c.mu.Lock()
	running := c.sinking
	c.sinking = true
	c.mu.Unlock()
	if !running && !c.table.start(func() {}, c.drain) {
		c.drain()
	}
}

// drain writes what is held until nothing is left. If the connection was closed
// meanwhile, its end is told then, and no sooner.
func (c *conn) drain() {
	for {
		next, drained, err := c.out.take(false)
		if err == nil && !drained {
			_ = c.Conn.SetWriteDeadline(time.Now().Add(sinkTimeout)) // closed: the write says so
			if _, err = c.Conn.Write(next.data); err == nil {
				continue
			}
		}
		c.mu.Lock()
		if drained && c.out.waiting() {
			c.mu.Unlock()
			continue
		}
		c.sinking = false
		closed := c.closed
		c.mu.Unlock()
		if closed || err != nil {
			_ = c.Conn.Close()
		}
		return
	}
}

// Close closes the connection. While what it sends is held the peer is not told.
func (c *conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if !first {
		return nil
	}
	c.table.forget(c)
	c.in.set(func() { c.in.closed, c.in.chunks = true, nil })
	if !c.out.held() && !c.busy() {
		return c.Conn.Close()
	}
	_ = c.Conn.SetReadDeadline(time.Unix(0, 0))                                      // ends the reading here
	c.out.set(func() { c.out.chunks = append(c.out.chunks, chunk{at: time.Now()}) }) // the end is held like all else
	c.sink()
	return nil
}

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds reads, of what is held too.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.set(func() { c.in.takeBy = t })
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline bounds how long a write waits for room.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.set(func() { c.out.putBy = t })
	return c.Conn.SetWriteDeadline(t)
}
