package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Handler answers the peer's requests. The result, or the error, becomes the
// answer; for a notification both are dropped. params is nil if none were
// given. The context ends when the caller cancels or the connection closes.
type Handler interface {
	Handle(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error) {
	return f(ctx, c, method, params)
}

// Config bounds a connection. The zero value of a field means its default.
type Config struct {
	// MaxMessage is the longest message accepted, in bytes. A longer one is
	// answered with too_large and the connection closed.
	MaxMessage int
	// QueueBytes bounds what waits to be sent. Over it the peer is taken for
	// one that does not read and the connection is closed.
	QueueBytes int
	// WriteTimeout bounds one write; a peer that does not read for so long is
	// given up.
	WriteTimeout time.Duration
	// Workers is how many requests of the peer are handled at once.
	Workers int
	// Backlog is how many more may wait; beyond them a request is answered
	// with rate_limited.
	Backlog int
	// MaxPending bounds this side's calls that have no answer yet, cancelled
	// ones included until the peer has answered them.
	MaxPending int
	// Inline names the methods that are handled one after the other, in the
	// order in which they came, before anything else is read: they must be
	// quick and must not call back on the connection. nil means none.
	Inline func(method string) bool
	// Log gets what a connection's owner should know; nil discards it.
	Log *slog.Logger
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		MaxMessage: 4 << 20, QueueBytes: 8 << 20, WriteTimeout: 5 * time.Second,
		Workers: 64, Backlog: 1024, MaxPending: 4096,
		Inline: func(string) bool { return false }, Log: slog.New(slog.DiscardHandler),
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	for _, field := range []struct{ have, otherwise *int }{
		{&c.MaxMessage, &d.MaxMessage}, {&c.QueueBytes, &d.QueueBytes}, {&c.Workers, &d.Workers},
		{&c.Backlog, &d.Backlog}, {&c.MaxPending, &d.MaxPending},
	} {
		if *field.have <= 0 {
			*field.have = *field.otherwise
		}
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = d.WriteTimeout
	}
	if c.Inline == nil {
		c.Inline = d.Inline
	}
	if c.Log == nil {
		c.Log = d.Log
	}
	return c
}

// Conn is one connection: both sides may call, notify and answer. All methods
// may be called from several goroutines at once.
type Conn struct {
	cfg      Config
	lib      *jsonrpc2.Conn
	stream   *stream
	pool     *pool
	remote   net.Addr
	lastRead atomic.Int64 // Unix nanoseconds
	pending  atomic.Int64
	sent     atomic.Int64
	received atomic.Int64

	mu     sync.Mutex
	reason error
	done   chan struct{}
}

// Start runs a connection over a byte stream, framed by lines: one JSON text,
// one newline. It owns nc. The connection ends when ctx does, when either side
// closes it, or when the peer breaks the rules so that it cannot go on.
func Start(ctx context.Context, nc net.Conn, h Handler, cfg Config) *Conn {
	c := &Conn{cfg: cfg.withDefaults(), done: make(chan struct{}), remote: nc.RemoteAddr()}
	l := newLines(nc, c.cfg.MaxMessage, &c.lastRead)
	c.start(ctx, l, l.write, h)
	return c
}

// StartMessages runs a connection over one that carries whole messages.
func StartMessages(ctx context.Context, mc MessageConn, h Handler, cfg Config) *Conn {
	c := &Conn{cfg: cfg.withDefaults(), done: make(chan struct{})}
	m := &messages{mc, c.cfg.MaxMessage, &c.lastRead}
	c.start(ctx, m, m.write, h)
	return c
}

func (c *Conn) start(ctx context.Context, in framer, write func([]byte, time.Time) error, h Handler) {
	ctx, cancel := context.WithCancel(ctx)
	c.lastRead.Store(time.Now().UnixNano())
	out := newQueue(c.cfg.QueueBytes, c.cfg.WriteTimeout, write, func(err error) {
		if err != nil {
			c.setReason(err)
		}
		_ = c.lib.Close() // already closed is fine
		_ = in.Close()    // ends the reading; there is nothing to be done about its error
	})
	c.stream = &stream{in: in, out: out, open: map[uint64]asked{}}
	c.pool = newPool(ctx, c, h)
	ready := make(chan struct{})
	c.lib = jsonrpc2.NewConn(ctx, c.stream, gated{ready, c.pool},
		jsonrpc2.OnRecv(c.stream.received), jsonrpc2.OnSend(c.stream.sending),
		jsonrpc2.SetLogger(log.New(io.Discard, "", 0)))
	close(ready) // from here on handlers may use c.lib
	var writing sync.WaitGroup
	writing.Go(out.run)
	go func() {
		<-c.lib.DisconnectNotify()
		c.setReason(c.endReason(ctx))
		cancel()
		writing.Wait()
		c.pool.wait()
		close(c.done)
	}()
}

// gated keeps the first request until the connection is put together.
type gated struct {
	ready <-chan struct{}
	pool  *pool
}

func (g gated) Handle(_ context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) {
	<-g.ready
	g.pool.handle(req)
}

// endReason says why a connection ended that nobody closed.
func (c *Conn) endReason(ctx context.Context) error {
	c.stream.mu.Lock()
	defer c.stream.mu.Unlock()
	switch err := c.stream.err; {
	case ctx.Err() != nil:
		return errs.Wrap(errs.ConnectionLost, context.Cause(ctx), "the connection was closed here")
	case err == nil || errors.Is(err, io.EOF):
		return errs.New(errs.ConnectionLost, "the peer closed the connection")
	default:
		return errs.Wrap(errs.From(err).Kind, err, "reading from the peer")
	}
}

func (c *Conn) setReason(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == nil {
		c.reason = err
	}
}

// Close ends the connection: what is queued is still sent, within a quarter of
// a second, calls that wait fail, handlers' contexts end. The first reason
// given is the one that [Conn.Wait] returns.
func (c *Conn) Close(reason error) {
	if reason == nil {
		reason = errs.New(errs.ConnectionLost, "the connection was closed here")
	}
	c.setReason(reason)
	_ = c.lib.Close() // already closed is fine
}

// Done is closed when everything the connection started has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Wait returns the reason why the connection ended, when everything it started
// has ended.
func (c *Conn) Wait() error {
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// RemoteAddr returns the peer's address, nil for a [MessageConn].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// LastRead returns when the newest bytes came from the peer.
func (c *Conn) LastRead() time.Time { return time.Unix(0, c.lastRead.Load()) }

// Stats are a connection's figures.
type Stats struct {
	QueuedBytes int   // waiting to be sent
	Pending     int   // own calls without an answer
	Running     int   // handlers at work
	Sent        int64 // calls and notifications made
	Received    int64 // requests and notifications of the peer
}

// Stats returns the figures of this moment.
func (c *Conn) Stats() Stats {
	return Stats{
		QueuedBytes: c.stream.out.size(), Pending: int(c.pending.Load()), Running: c.pool.running(),
		Sent: c.sent.Load(), Received: c.received.Load(),
	}
}
