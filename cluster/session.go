package cluster

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/rpc"
)

// accept takes connections until the listener is closed.
func (c *Cluster) accept() {
	for {
		nc, err := c.opts.Listener.Accept()
		if err != nil {
			if c.ctx.Err() == nil && !c.isLeaving() {
				c.cancel(errs.Wrap(errs.Internal, err, "the nodes' port cannot be listened on any more"))
			}
			return
		}
		c.wg.Go(func() { c.serve(nc) })
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
	s := &session{c: c, spoke: make(chan struct{})}
	s.doorman = rpc.NewDoorman(c.id, s)
	conn := c.start(nc, s)
	s.watch(conn)
	reason := conn.Wait()
	if peer, ok := s.doorman.Peer(); ok {
		c.lost(peer, conn, false, reason)
		return
	}
	c.opts.Log.Debug("connection ended", "addr", nc.RemoteAddr(), "role", s.role(), "why", reason)
	if kind := errs.KindOf(reason); kind == errs.ParseError || kind == errs.TooLarge || kind == errs.Timeout {
		c.opts.Log.Warn("connection closed", "addr", nc.RemoteAddr(), "why", reason)
	}
}

// start runs a connection with the cluster's bounds.
func (c *Cluster) start(nc net.Conn, h rpc.Handler) *rpc.Conn {
	cfg := c.opts.RPC
	cfg.Log = c.opts.Log
	cfg.Inline = func(method string) bool {
		return slices.Contains([]string{rpc.HelloMethod, rpc.ProveMethod, pingMethod, goodbyeMethod}, method) || c.opts.Inline(method)
	}
	return rpc.Start(c.ctx, nc, h, cfg)
}

// session is one accepted connection.
type session struct {
	c       *Cluster
	doorman *rpc.Doorman
	once    sync.Once
	spoke   chan struct{} // closed at the first request

	mu     sync.Mutex
	isNode bool
	conn   *rpc.Conn
	peer   string
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
		conn.Close(errs.New(errs.Timeout, "nothing was said within %s", s.c.cfg.HandshakeTimeout))
		return
	}
	if s.role() == "client" {
		return
	}
	select {
	case <-conn.Done():
	case <-timer.C:
		if _, ok := s.doorman.Peer(); !ok {
			conn.Close(errs.New(errs.Timeout, "the handshake was not finished within %s", s.c.cfg.HandshakeTimeout))
		}
	}
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
		close(s.spoke)
	})
	if s.role() == "client" {
		return s.c.opts.Client.Handle(ctx, conn, method, params)
	}
	if method == rpc.HelloMethod || method == rpc.ProveMethod {
		result, err := s.doorman.Handle(ctx, method, params)
		if err != nil {
			s.c.logRefusal("inbound "+conn.RemoteAddr().String(), err)
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
func (s *session) Welcome(_ context.Context, hello rpc.Peer) (any, error) {
	if _, ok := s.c.cfg.Peers[hello.Node]; !ok {
		return nil, errs.New(errs.Forbidden, "node %q is not among the peers of %s; add it to the list of every node, or correct its name", hello.Node, s.c.cfg.Self)
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
	if err := s.c.connected(prove.Node, conn, false, info); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.peer = prove.Node
	s.mu.Unlock()
	return s.c.info(), nil
}

// info is what this node says of itself.
func (c *Cluster) info() Info {
	digest := c.opts.Replica.Digest()
	c.mu.Lock()
	defer c.mu.Unlock()
	return Info{Incarnation: c.core.Incarnation(), Addr: c.cfg.Addr, Ready: c.core.Ready(), PeersHash: c.hash, Digest: digest}
}

// logRefusal logs a refusal once per reason, not at every redial.
func (c *Cluster) logRefusal(who string, err error) {
	c.mu.Lock()
	host, _, splitErr := net.SplitHostPort(who)
	if splitErr == nil {
		who = host // the port of a client changes with each connection
	}
	again := c.refusal[who] == err.Error()
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
	var nc net.Conn
	var err error
	for _, addr := range d.Addrs {
		if nc, err = c.opts.Transport.Dial(ctx, addr); err == nil {
			break
		}
	}
	if err != nil {
		c.step(DialFailed{Peer: d.Peer, Refused: rpc.Refused(err), Why: err.Error()})
		return
	}
	conn := c.start(nc, rpc.HandlerFunc(func(ctx context.Context, _ *rpc.Conn, method string, params json.RawMessage) (any, error) {
		return c.answer(ctx, d.Peer, method, params)
	}))
	if err := c.greet(ctx, d.Peer, conn); err != nil {
		conn.Close(err)
		c.logRefusal("node "+d.Peer, err)
		c.step(DialFailed{Peer: d.Peer, Why: "handshake: " + err.Error()})
		return
	}
	c.wg.Go(func() { c.lost(d.Peer, conn, true, conn.Wait()) })
}

// greet is the dialling side's handshake.
func (c *Cluster) greet(ctx context.Context, peer string, conn *rpc.Conn) error {
	ack, err := rpc.Greet(ctx, conn, c.id, peer, nil, func(welcome rpc.Peer) (any, error) {
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
	return c.connected(peer, conn, true, info)
}
