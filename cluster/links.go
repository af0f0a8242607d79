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

// connected takes a connection in whose handshake succeeded.
func (c *Cluster) connected(peer string, conn *rpc.Conn, dialled bool, info Info) error {
	c.mu.Lock()
	known := c.core.Highest(peer)
	if info.Incarnation < known {
		c.mu.Unlock()
		return errs.New(errs.Conflict, "incarnation %d of node %s is over, %d is known: another process has been started with its name", info.Incarnation, peer, known)
	}
	if c.leaving {
		c.mu.Unlock()
		return errs.New(errs.NodeUnavailable, "node %s is leaving", c.cfg.Self)
	}
	old := c.links[peer]
	l := old
	if old == nil || old.info.Incarnation != info.Incarnation {
		l = &link{peer: peer, info: info}
		c.links[peer] = l
	}
	replaced := l.add(conn, dialled)
	c.hashes[peer] = info.PeersHash
	delete(c.refusal, "node "+peer)
	c.mu.Unlock()

	if replaced != nil {
		replaced.Close(errs.New(errs.ConnectionLost, "a newer connection with %s takes its place", peer))
	}
	if old != nil && old != l {
		c.opts.Replica.Down(peer)
		old.close(errs.New(errs.ConnectionLost, "node %s was reborn", peer))
	}
	if old != l {
		c.opts.Replica.Up(peer, info)
	}
	c.step(Connected{Peer: peer, Dialled: dialled, Info: info})
	return nil
}

// lost takes a connection out that has ended.
func (c *Cluster) lost(peer string, conn *rpc.Conn, dialled bool, reason error) {
	c.mu.Lock()
	l := c.links[peer]
	if l == nil {
		c.mu.Unlock()
		return
	}
	was, rest := l.remove(conn, dialled)
	if was && !rest {
		delete(c.links, peer)
	}
	c.mu.Unlock()
	if !was {
		return
	}
	if !rest {
		c.opts.Replica.Down(peer)
	}
	c.step(Disconnected{Peer: peer, Dialled: dialled, Rest: rest, Why: reason.Error()})
}

// drop closes all connections with a peer. Nothing has to be told: each tells
// its own end.
func (c *Cluster) drop(peer string, why error) {
	if l := c.linksByName()[peer]; l != nil {
		l.close(why)
	}
}

// conn returns the connection to call a peer by.
func (c *Cluster) conn(peer string) *rpc.Conn {
	if l := c.linksByName()[peer]; l != nil {
		return l.conn()
	}
	return nil
}

// Call calls a method of another node and waits for the answer. A node that is
// not configured is not_found; one that is dead, has left, or cannot be reached
// is node_unavailable at once, with what is known of it.
func (c *Cluster) Call(ctx context.Context, node, method string, params, result any) error {
	if _, ok := c.cfg.Peers[node]; !ok {
		return errs.New(errs.NotFound, "no node %q in this cluster; the nodes are: %s", node, c.names())
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
