package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Memory is a network in memory, for tests: it works inside a testing/synctest
// bubble. Its addresses are any words; a link is the way between a dialler,
// named with [Memory.From], and a listener's address.
type Memory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
	links     map[[2]string]Fault
	conns     map[*memoryConn][2]string
}

// Fault is what is wrong with one direction of a link.
type Fault int

// The faults.
const (
	Healthy Fault = iota
	Cut           // what is sent is lost without a word, dials hang
	Refuse        // dials are refused, as by a firewall; what is connected goes on
)

// NewMemory returns an empty network.
func NewMemory() *Memory {
	return &Memory{listeners: map[string]*memoryListener{}, links: map[[2]string]Fault{}, conns: map[*memoryConn][2]string{}}
}

// Set changes one direction of a link, for what is connected and for dials.
func (m *Memory) Set(from, to string, f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links[[2]string{from, to}] = f
	for c, way := range m.conns {
		if way == [2]string{from, to} {
			c.out.setCut(f == Cut)
		}
	}
}

// Break closes all connections between two addresses, as a reset does.
func (m *Memory) Break(a, b string) {
	m.mu.Lock()
	var broken []*memoryConn
	for c, way := range m.conns {
		if way == [2]string{a, b} || way == [2]string{b, a} {
			broken = append(broken, c)
		}
	}
	m.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

// From returns the network as the node at an address sees it.
func (m *Memory) From(addr string) Transport { return memoryTransport{m, addr} }

type memoryTransport struct {
	m    *Memory
	from string
}

func (t memoryTransport) Listen(addr string) (net.Listener, error) { return t.m.Listen(addr) }

func (t memoryTransport) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return t.m.dial(ctx, t.from, addr)
}

// Listen listens on an address that nobody listens on yet.
func (m *Memory) Listen(addr string) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listeners[addr] != nil {
		return nil, fmt.Errorf("listen %s: %w", addr, syscall.EADDRINUSE)
	}
	l := &memoryListener{m: m, addr: memoryAddr(addr), conns: make(chan net.Conn, 16), done: make(chan struct{})}
	m.listeners[addr] = l
	return l, nil
}

// Dial connects as nobody in particular.
func (m *Memory) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return m.dial(ctx, "client", addr)
}

func (m *Memory) dial(ctx context.Context, from, to string) (net.Conn, error) {
	m.mu.Lock()
	l, fault := m.listeners[to], m.links[[2]string{from, to}]
	back := m.links[[2]string{to, from}]
	m.mu.Unlock()
	if fault == Cut || back == Cut {
		<-ctx.Done()
		return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
	}
	if l == nil || fault == Refuse {
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	near, far := m.pair(from, to)
	select {
	case l.conns <- far:
		return near, nil
	case <-l.done:
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
	}
}

func (m *Memory) pair(from, to string) (near, far *memoryConn) {
	there, back := newHalf(), newHalf()
	near = &memoryConn{m: m, in: back, out: there, local: memoryAddr(from), remote: memoryAddr(to)}
	far = &memoryConn{m: m, in: there, out: back, local: memoryAddr(to), remote: memoryAddr(from)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns[near], m.conns[far] = [2]string{from, to}, [2]string{to, from}
	return near, far
}

// Pipe returns the two ends of a connection.
func Pipe() (a, b net.Conn) {
	near, far := NewMemory().pair("a", "b")
	return near, far
}

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

type memoryListener struct {
	m     *Memory
	addr  memoryAddr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends the listening; connections nobody has accepted are closed.
func (l *memoryListener) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		delete(l.m.listeners, string(l.addr))
		l.m.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.conns:
				_ = c.Close()
				continue
			default:
			}
			return
		}
	})
	return nil
}

func (l *memoryListener) Addr() net.Addr { return l.addr }

// half is one direction of a connection: a bounded buffer.
type half struct {
	mu      sync.Mutex
	buf     []byte
	closed  bool
	cut     bool
	changed chan struct{}
}

// halfSize is about what a kernel buffers.
const halfSize = 256 << 10

func newHalf() *half { return &half{changed: make(chan struct{})} }

// wake tells both ends that something changed. The caller holds mu.
func (h *half) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *half) setCut(cut bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = cut
	h.wake()
}

func (h *half) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.wake() // also when the other end was first: each end has its own readers
}

// read takes what there is; ok is false when it has to wait for changed.
// Bytes of a cut link stay until it heals, as TCP would send them again.
func (h *half) read(b []byte) (n int, changed <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.cut && len(h.buf) > 0:
		n = copy(b, h.buf)
		h.buf = h.buf[n:]
		h.wake()
		return n, nil, nil
	case !h.cut && h.closed:
		return 0, nil, io.EOF
	}
	return 0, h.changed, nil
}

func (h *half) write(b []byte) (n int, changed <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, nil, io.ErrClosedPipe
	}
	n = min(len(b), halfSize-len(h.buf))
	if n > 0 {
		h.buf = append(h.buf, b[:n]...)
		h.wake()
	}
	return n, h.changed, nil
}

type memoryConn struct {
	m             *Memory
	in, out       *half
	local, remote memoryAddr

	mu             sync.Mutex
	closed         bool
	readBy, sendBy time.Time
}

func (c *memoryConn) Read(b []byte) (int, error) {
	if c.expired(&c.readBy) {
		return 0, os.ErrDeadlineExceeded
	}
	for {
		n, changed, err := c.in.read(b)
		if n > 0 || err != nil {
			return n, err
		}
		if err := c.wait(changed, &c.readBy); err != nil {
			return 0, err
		}
	}
}

func (c *memoryConn) Write(b []byte) (sent int, err error) {
	if c.expired(&c.sendBy) {
		return 0, os.ErrDeadlineExceeded
	}
	for sent < len(b) {
		n, changed, err := c.out.write(b[sent:])
		if sent += n; err != nil {
			return sent, err
		}
		if n > 0 {
			continue
		}
		if err := c.wait(changed, &c.sendBy); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// expired says that a deadline has passed, after which nothing is read or
// written even if it could be.
func (c *memoryConn) expired(deadline *time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !deadline.IsZero() && !time.Now().Before(*deadline)
}

// wait waits for a change, the deadline or the end of the connection.
func (c *memoryConn) wait(changed <-chan struct{}, deadline *time.Time) error {
	c.mu.Lock()
	closed, by := c.closed, *deadline
	c.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if by.IsZero() {
		<-changed
		return nil
	}
	timer := time.NewTimer(time.Until(by))
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}

func (c *memoryConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.in.close()
	c.out.close()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	delete(c.m.conns, c)
	return nil
}

// CloseWrite ends this side's sending, as that of a [net.TCPConn] does.
func (c *memoryConn) CloseWrite() error {
	c.out.close()
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr  { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

func (c *memoryConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *memoryConn) SetReadDeadline(t time.Time) error  { return c.set(&c.readBy, c.in, t) }
func (c *memoryConn) SetWriteDeadline(t time.Time) error { return c.set(&c.sendBy, c.out, t) }

func (c *memoryConn) set(deadline *time.Time, h *half, t time.Time) error {
	c.mu.Lock()
	*deadline = t
	c.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wake() // whoever waits takes the new deadline
	return nil
}
