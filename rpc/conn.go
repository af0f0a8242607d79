package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
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

// Inliner is what a [Handler] may be besides: it names methods to be handled
// inline, in addition to those of Config.Inline.
type Inliner interface {
	Inline(method string) bool
}

// Conn is one connection: both sides may call, notify and answer. All methods
// may be called from several goroutines at once.
type Conn struct {
	cfg      Config
	lib      *jsonrpc2.Conn
	stream   *stream
	pool     *pool
	remote   net.Addr
	stop     context.CancelFunc // ends the handlers' contexts
	limit    atomic.Int64       // of a message of the peer, in bytes
	lastRead atomic.Int64       // Unix nanoseconds
	pending  atomic.Int64
	sent     atomic.Int64
	received atomic.Int64
	endAtEOF atomic.Bool

	mu     sync.Mutex
	reason error
	done   chan struct{}
}

// Start runs a connection over a byte stream, framed by lines: one JSON text,
// one newline. It owns nc. The connection ends when ctx does, when either side
// closes it, or when the peer breaks the rules so that it cannot go on.
func Start(ctx context.Context, nc net.Conn, h Handler, cfg Config) *Conn {
	c := newConn(cfg)
	c.remote = nc.RemoteAddr()
	c.start(ctx, newLines(nc, c), h)
	return c
}

// StartMessages runs a connection over one that carries whole messages.
func StartMessages(ctx context.Context, mc MessageConn, h Handler, cfg Config) *Conn {
	c := newConn(cfg)
	c.start(ctx, &messages{mc, c}, h)
	return c
}

func newConn(cfg Config) *Conn {
	c := &Conn{cfg: cfg.withDefaults(), done: make(chan struct{})}
	c.limit.Store(int64(c.cfg.FirstMessage))
	c.lastRead.Store(time.Now().UnixNano())
	return c
}

func (c *Conn) start(ctx context.Context, f framer, h Handler) {
	ctx, c.stop = context.WithCancel(ctx)
	out := newQueue(c.cfg.QueueBytes, c.cfg.WriteTimeout, f.write, func(err error) {
		if err != nil {
			c.setReason(err)
		}
		c.end()
		_ = f.Close() // ends the reading; there is nothing to be done about its error
	})
	c.stream = newStream(f, out, c.cfg.MaxMessage)
	c.pool = newPool(ctx, c, h)
	ready := make(chan struct{})
	c.lib = jsonrpc2.NewConn(ctx, c.stream, gated{ready, c},
		jsonrpc2.OnRecv(c.stream.received), jsonrpc2.OnSend(c.stream.sending),
		jsonrpc2.SetLogger(log.New(io.Discard, "", 0)))
	close(ready) // from here on handlers may use c.lib
	var writing sync.WaitGroup
	writing.Go(out.run)
	go func() {
		<-c.lib.DisconnectNotify()
		c.setReason(c.endReason(ctx))
		c.linger(ctx)
		c.stop()
		out.close()
		writing.Wait()
		<-c.stream.ended // an inline handler may have been at work
		c.pool.wait()
		close(c.done)
	}()
}

// gated keeps the first request until the connection is put together.
type gated struct {
	ready <-chan struct{}
	c     *Conn
}

func (g gated) Handle(context.Context, *jsonrpc2.Conn, *jsonrpc2.Request) {
	<-g.ready
	g.c.pool.handle(g.c.stream.current)
}

// endReason says why a connection ended that nobody closed.
func (c *Conn) endReason(ctx context.Context) error {
	switch err := c.stream.readError(); {
	case ctx.Err() != nil:
		return errs.Wrap(errs.ConnectionLost, context.Cause(ctx), "the connection was closed here")
	case err == nil || errors.Is(err, io.EOF):
		return errs.New(errs.ConnectionLost, "the peer closed the connection")
	default:
		return errs.Wrap(errs.From(err).Kind, err, "reading from the peer")
	}
}

// linger lets the requests of a peer that has said its last word, and may still
// read, be answered. The library has closed already: this side's calls have
// failed, and no more are made.
func (c *Conn) linger(ctx context.Context) {
	if !errors.Is(c.stream.readError(), io.EOF) || c.endAtEOF.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Linger) // over at once if it is 0
	defer cancel()
	c.pool.quiet(ctx)
	c.stream.out.flushed(ctx)
}

// EndAtEOF makes the connection end as soon as the peer closes its sending side,
// whatever Config.Linger says: for a peer whose death should be known at once.
func (c *Conn) EndAtEOF() { c.endAtEOF.Store(true) }

// Trust lifts the limit on the peer's messages from Config.FirstMessage to
// Config.MaxMessage, once the peer has shown who it is.
func (c *Conn) Trust() { c.limit.Store(int64(c.cfg.MaxMessage)) }

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
	c.end()
}

// Refuse tells the peer the reason, as an error that answers nothing in
// particular (its id is null), and closes the connection.
func (c *Conn) Refuse(reason error) {
	c.stream.tell(reason)
	c.Close(reason)
}

func (c *Conn) end() {
	_ = c.lib.Close() // already closed is fine
	c.stop()
}

// Done is closed when everything the connection started has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Wait returns the reason why the connection ended, when everything it started
// has ended. A handler must not wait for its own connection.
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
	Messages    int64 // messages that came, whatever they were, garbage included
}

// Stats returns the figures of this moment.
func (c *Conn) Stats() Stats {
	return Stats{
		QueuedBytes: c.stream.out.size(), Pending: int(c.pending.Load()), Running: c.pool.running(),
		Sent: c.sent.Load(), Received: c.received.Load(), Messages: c.stream.messages.Load(),
	}
}
