package cluster

import (
	"context"
	"maps"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/rpc"
)

func (c *Cluster) linksByName() map[string]*link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.links)
}

func (c *Cluster) allLinks() []*link {
	var all []*link
	for _, l := range c.linksByName() {
		all = append(all, l)
	}
	return all
}

// The table of links and what the core thinks change together, under one lock,
// and what follows goes through the outbox: so replication and whoever listens
// to events get everything in the order in which it was decided. A link that is
// reported down before, or hidden after, the one that took its place was
// reported up would stay down.

// linkUp and linkDown tell replication; hangUp closes a link that was taken out.
type (
	linkUp struct {
		peer string
		info Info
	}
	linkDown struct{ peer string }
	hangUp   struct {
		link *link
		why  error
	}
)

func (linkUp) output()   {}
func (linkDown) output() {}
func (hangUp) output()   {}

// connected takes a connection in whose handshake succeeded.
func (c *Cluster) connected(peer string, e end, dialled bool, info Info) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why := c.core.Refuses(peer, info.Incarnation); why != "" {
		return errs.New(errs.Conflict, "%s", why)
	}
	if c.leaving {
		return errs.New(errs.NodeUnavailable, "node %s is leaving", c.cfg.Self)
	}
	old := c.links[peer]
	l := old
	if old == nil || old.info.Incarnation != info.Incarnation {
		l = &link{peer: peer, info: info}
		c.links[peer] = l
	}
	if replaced := l.add(e, dialled); replaced.conn != nil {
		one := &link{dialled: replaced}
		c.outbox = append(c.outbox, hangUp{one, errs.New(errs.ConnectionLost, "a newer connection with %s takes its place", peer)})
	}
	c.hashes[peer] = info.PeersHash
	delete(c.refusal, "node "+peer)
	c.stepLocked(Connected{Peer: peer, Dialled: dialled, Info: info})
	if old != nil && old != l {
		c.outbox = append(c.outbox, linkDown{peer}, hangUp{old, errs.New(errs.ConnectionLost, "node %s was reborn", peer)})
	}
	if old != l {
		c.outbox = append(c.outbox, linkUp{peer, info})
	}
	return nil
}

// lost takes a connection out that has ended.
func (c *Cluster) lost(peer string, conn *rpc.Conn, dialled bool, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.links[peer]
	if l == nil {
		return
	}
	was, rest := l.remove(conn, dialled)
	if !was {
		return
	}
	if !rest {
		c.unlink(peer)
	}
	c.stepLocked(Disconnected{Peer: peer, Dialled: dialled, Rest: rest, Why: reason.Error()})
}

// unlink takes a link out of the table, nil if there is none. The caller holds
// mu. Its connections go on until somebody closes them, but nobody uses them.
func (c *Cluster) unlink(peer string) *link {
	l := c.links[peer]
	if l != nil {
		delete(c.links, peer)
		c.outbox = append(c.outbox, linkDown{peer})
	}
	return l
}

// dropAll gives all links up. The caller holds mu.
func (c *Cluster) dropAll(why error) {
	for peer := range maps.Clone(c.links) {
		c.outbox = append(c.outbox, hangUp{c.unlink(peer), why})
		c.stepLocked(Disconnected{Peer: peer, Why: why.Error()})
	}
}

// conn returns the connection to call a peer by.
func (c *Cluster) conn(peer string) *rpc.Conn { return c.linksByName()[peer].conn() }

// Call calls a method of another node and waits for the answer. One that only
// another member reaches is called through that one. A node that is not
// configured is not_found; one that is dead, has left, or cannot be reached is
// node_unavailable at once, with what is known of it.
func (c *Cluster) Call(ctx context.Context, node, method string, params, result any) error {
	if _, ok := c.cfg.Peers[node]; !ok {
		return errs.New(errs.NotFound, "no node %q in this cluster; the nodes are: %s", node, c.names())
	}
	if helper, indirect := c.reachOf(node).Via(); indirect && relayable(method) {
		return c.callVia(ctx, helper, node, method, params, result)
	}
	conn := c.conn(node)
	if conn == nil {
		m := c.member(node)
		return errs.New(errs.NodeUnavailable, "node %s is %s and not connected, so %s was not sent", node, m.State, method).WithWhy("%s", m.Why)
	}
	return conn.Call(ctx, method, params, result)
}

func (c *Cluster) names() string {
	names := ""
	for i, m := range c.Members() {
		if i > 0 {
			names += ", "
		}
		names += m.Name
	}
	return names
}
