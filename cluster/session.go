package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/rpc"
)

// Bounds of accepting.
const (
	// maxAccepted is how many accepted connections there may be at one time:
	// clients, and a few of each peer's.
	maxAccepted = 1024
	// firstMessage bounds what one who has shown nothing yet can send at once.
	firstMessage = 64 << 10
	// clientPatience is how long a connection that is no node's, or does not
	// know yet, may take to say something that can be understood.
	clientPatience = 30 * time.Second
	// linger is how long a client that has said its last word is answered.
	linger = 30 * time.Second
	// nodeWorkers is how many requests of a peer run at once: each follower of
	// another node's events or logs is one that waits.
	nodeWorkers = 1024

	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// accept takes connections until the listener is closed. An error that passes
// (no descriptor is free, say) ends nothing: what is connected goes on.
func (c *Cluster) accept() {
	pause := acceptPauseMin
	for c.ctx.Err() == nil {
		nc, err := c.opts.Listener.Accept()
		switch {
		case err == nil:
			pause = acceptPauseMin
			c.wg.Go(func() { c.serve(nc) })
		case errors.Is(err, net.ErrClosed):
			if c.ctx.Err() == nil && !c.isLeaving() {
				c.cancel(errs.Wrap(errs.Internal, err, "the nodes' port cannot be listened on any more"))
			}
			return
		default:
			if pause == acceptPauseMin {
				c.opts.Log.Error("a connection could not be accepted, others are tried again and again; "+
					"if no descriptors are free raise the limit (ulimit -n)", "err", err)
			}
			select {
			case <-time.After(pause):
			case <-c.ctx.Done():
			}
			pause = min(2*pause, acceptPauseMax)
		}
	}
}

func (c *Cluster) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

// serve is the life of an accepted connection. Its first request decides
// whether it is a node's or a client's; one that says nothing is closed.
func (c *Cluster) serve(nc net.Conn) {
	n := c.accepted.Add(1)
	defer c.accepted.Add(-1)
	if n > maxAccepted {
		c.opts.Log.Debug("connection refused, there are too many", "addr", nc.RemoteAddr(), "limit", maxAccepted)
		_ = nc.Close() // it was not used
		return
	}
	s := &session{c: c, spoke: make(chan struct{})}
	s.doorman = rpc.NewDoorman(c.id, s)
	nc, s.identify = c.opts.Breaker.Accept(nc)
	s.flow = &flow{Conn: nc}
	conn := c.start(s.flow, s, func(cfg *rpc.Config) {
		cfg.Linger = linger
		if t, ok := c.opts.Client.(interface{ Trusts(net.Addr) bool }); !ok || !t.Trusts(nc.RemoteAddr()) {
			cfg.FirstMessage = firstMessage
		}
	})
	s.watch(conn)
	reason := conn.Wait()
	if peer := s.end(reason); peer != "" {
		c.lost(peer, conn, false, reason)
		return
	}
	c.opts.Log.Debug("connection ended", "addr", nc.RemoteAddr(), "role", s.role(), "why", reason)
	if kind := errs.KindOf(reason); kind == errs.ParseError || kind == errs.TooLarge || kind == errs.Timeout {
		c.opts.Log.Warn("connection closed", "addr", nc.RemoteAddr(), "why", reason)
	}
}

// start runs a connection with the cluster's bounds.
func (c *Cluster) start(nc net.Conn, h rpc.Handler, change func(*rpc.Config)) *rpc.Conn {
	cfg := c.opts.RPC
	cfg.Log, cfg.Workers = c.opts.Log, nodeWorkers
	change(&cfg)
	clients, _ := c.opts.Client.(rpc.Inliner)
	cfg.Inline = func(method string) bool {
		return slices.Contains([]string{rpc.HelloMethod, rpc.ProveMethod, pingMethod, goodbyeMethod}, method) || c.opts.Inline(method) ||
			clients != nil && clients.Inline(method)
	}
	return rpc.Start(c.ctx, nc, h, cfg)
}

// session is one accepted connection.
type session struct {
	c       *Cluster
	doorman *rpc.Doorman
	flow    *flow
	// identify tells whoever stands between the nodes whose connection it is.
	identify func(ctx context.Context, peer string) error
	once     sync.Once
	spoke    chan struct{} // closed at the first request

	mu     sync.Mutex
	isNode bool
	conn   *rpc.Conn
	peer   string // once it was admitted
	ended  error  // why the connection has ended, if it has
}

// end notes that the connection has ended, and returns the peer that was
// admitted.
func (s *session) end(reason error) (peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = reason
	return s.peer
}

// watch closes the connection if nothing was said in time, or hello and no
// more.
func (s *session) watch(conn *rpc.Conn) {
	timer := time.NewTimer(s.c.cfg.HandshakeTimeout)
	defer timer.Stop()
	select {
	case <-s.spoke:
	case <-conn.Done():
		return
	case <-timer.C:
		if !s.isWaitedFor(conn) {
			return
		}
		timer.Reset(s.c.cfg.HandshakeTimeout) // for the handshake, if it was a hello
	}
	if s.role() == "client" {
		return
	}
	select {
	case <-conn.Done():
	case <-timer.C:
		if _, ok := s.doorman.Peer(); !ok {
			conn.Refuse(errs.New(errs.Timeout, "the handshake was not finished within %s", s.c.cfg.HandshakeTimeout))
		}
	}
}

// isWaitedFor gives one that is no node more time, a client at a keyboard say,
// and refuses it when it has said nothing then that could be understood.
func (s *session) isWaitedFor(conn *rpc.Conn) bool {
	timer := time.NewTimer(clientPatience)
	defer timer.Stop()
	select {
	case <-s.spoke:
		return true
	case <-conn.Done():
	case <-timer.C:
		conn.Refuse(errs.New(errs.Timeout, "nothing that could be understood was said within %s; this port speaks JSON-RPC 2.0, one message a line",
			s.c.cfg.HandshakeTimeout+clientPatience))
	}
	return false
}

func (s *session) role() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isNode {
		return "node"
	}
	return "client"
}

// Handle answers the peer, whoever it is.
func (s *session) Handle(ctx context.Context, conn *rpc.Conn, method string, params json.RawMessage) (any, error) {
	s.once.Do(func() {
		s.mu.Lock()
		s.isNode, s.conn = method == rpc.HelloMethod, conn
		s.mu.Unlock()
		if method == rpc.HelloMethod {
			conn.EndAtEOF()
		}
		close(s.spoke)
	})
	if s.role() == "client" {
		return s.c.opts.Client.Handle(ctx, conn, method, params)
	}
	if method == rpc.HelloMethod || method == rpc.ProveMethod {
		result, err := s.doorman.Handle(ctx, method, params)
		if err != nil {
			s.c.logRefusal("inbound "+hostOf(conn.RemoteAddr()), err)
		}
		return result, err
	}
	s.mu.Lock()
	peer := s.peer
	s.mu.Unlock()
	if peer == "" {
		return nil, errs.New(errs.Unauthorized, "%s comes after the handshake", method)
	}
	return s.c.answer(ctx, peer, method, params)
}

// welcomeBody tells a newcomer which incarnation of its own is known.
type welcomeBody struct {
	Known uint64 `json:"known"`
}

// Welcome answers a hello that is not proven yet.
func (s *session) Welcome(ctx context.Context, hello rpc.Peer) (any, error) {
	if _, ok := s.c.cfg.Peers[hello.Node]; !ok {
		return nil, errs.New(errs.Forbidden, "node %q is not among the peers of %s; add it to the list of every node, or correct its name", hello.Node, s.c.cfg.Self)
	}
	if err := s.identify(ctx, hello.Node); err != nil {
		return nil, err
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return welcomeBody{s.c.core.Highest(hello.Node)}, nil
}

// Admit takes a proven peer in.
func (s *session) Admit(_ context.Context, prove rpc.Peer) (any, error) {
	var info Info
	if err := json.Unmarshal(prove.Body, &info); err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "node %s says of itself what cannot be read", prove.Node)
	}
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	conn.Trust()
	if err := s.c.connected(prove.Node, end{conn, s.flow}, false, info); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.peer = prove.Node
	ended := s.ended
	s.mu.Unlock()
	if ended != nil { // before there was somebody to tell of
		s.c.lost(prove.Node, conn, false, ended)
	}
	return s.c.info(), nil
}

// info is what this node says of itself.
func (c *Cluster) info() Info {
	digest := c.opts.Replica.Digest()
	c.mu.Lock()
	defer c.mu.Unlock()
	return Info{Incarnation: c.core.Incarnation(), Addr: c.cfg.advertised(), Ready: c.core.Ready(), PeersHash: c.hash, Digest: digest}
}

// hostOf leaves out the port, which changes with each connection of a client.
func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil { // an address in memory
		return addr.String()
	}
	return host
}

// maxRefusals bounds what is remembered of whom anybody can be.
const maxRefusals = 256

// logRefusal logs a refusal once per reason, not at every redial.
func (c *Cluster) logRefusal(who string, err error) {
	c.mu.Lock()
	before, known := c.refusal[who]
	if !known && len(c.refusal) >= maxRefusals {
		clear(c.refusal) // at worst some are logged again
	}
	again := known && before == err.Error()
	c.refusal[who] = err.Error()
	c.mu.Unlock()
	if !again {
		c.opts.Log.Warn("handshake failed", "with", who, "why", err)
	}
}

// dial connects to a peer and greets it.
func (c *Cluster) dial(d Dial) {
	if c.isLeaving() {
		return // it has said goodbye
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.HandshakeTimeout)
	defer cancel()
	failed := DialFailed{Peer: d.Peer, Refused: true}
	var whys []string
	for _, addr := range d.Addrs {
		// Each has its share of the time, so that one that hangs, or where another
		// node answers, does not hide the next.
		share, cancel := context.WithTimeout(ctx, c.cfg.HandshakeTimeout/time.Duration(len(d.Addrs)))
		conn, err := c.reach(share, d.Peer, addr)
		cancel()
		if err == nil {
			c.wg.Go(func() { c.lost(d.Peer, conn, true, conn.Wait()) })
			return
		}
		failed.Refused = failed.Refused && rpc.Refused(err)
		whys = append(whys, err.Error())
	}
	failed.Why = strings.Join(whys, "; ")
	c.step(failed)
}

// reach connects to a peer at an address and greets it there.
func (c *Cluster) reach(ctx context.Context, peer, addr string) (*rpc.Conn, error) {
	nc, err := c.dialAddr(ctx, peer, addr)
	if err != nil {
		return nil, err
	}
	var proven atomic.Bool
	in := &flow{Conn: nc}
	conn := c.start(in, rpc.HandlerFunc(func(ctx context.Context, _ *rpc.Conn, method string, params json.RawMessage) (any, error) {
		if !proven.Load() { // whoever listens there may ask once he has shown that he knows the secret
			return nil, errs.New(errs.Unauthorized, "%s comes after the handshake", method)
		}
		return c.answer(ctx, peer, method, params)
	}), func(*rpc.Config) {})
	if err := c.greet(ctx, peer, end{conn, in}, &proven); err != nil {
		conn.Close(err)
		c.logRefusal("node "+peer, err)
		return nil, fmt.Errorf("handshake at %s: %w", addr, err)
	}
	return conn, nil
}

func (c *Cluster) dialAddr(ctx context.Context, peer, addr string) (net.Conn, error) {
	return c.opts.Breaker.Dial(ctx, peer, func(ctx context.Context) (net.Conn, error) { return c.opts.Transport.Dial(ctx, addr) })
}

// greet is the dialling side's handshake. proven is set once the peer has shown
// that it knows the secret.
func (c *Cluster) greet(ctx context.Context, peer string, e end, proven *atomic.Bool) error {
	ack, err := rpc.Greet(ctx, e.conn, c.id, peer, nil, func(welcome rpc.Peer) (any, error) {
		proven.Store(true)
		var body welcomeBody
		if err := json.Unmarshal(welcome.Body, &body); err != nil {
			return nil, errs.Wrap(errs.BadParameter, err, "node %s welcomes with what cannot be read", peer)
		}
		c.step(Known{peer, body.Known})
		return c.info(), nil
	})
	if err != nil {
		return err
	}
	var info Info
	if err := json.Unmarshal(ack.Body, &info); err != nil {
		return errs.Wrap(errs.BadParameter, err, "node %s says of itself what cannot be read", peer)
	}
	return c.connected(peer, e, true, info)
}
