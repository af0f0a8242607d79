package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/replica"
	"github.com/glassbox-dev/glassbox/internal/errs"
)

// call is a request under way.
type call struct {
	conn *conn
	done func(result any, err error)
}

// answerer answers a request on the node that is asked, now or later.
type answerer func(to *node, answer func(result any, err error))

// send asks a directly connected peer; done is called once, at latest after a time.
func (n *node) send(peer string, timeout time.Duration, ask answerer, done func(result any, err error)) {
	l := n.links[peer]
	if l == nil {
		n.c.world.After(0, func() { n.reads(func() { done(nil, unavailable(peer)); n.settle() }) })
		return
	}
	n.lastID++
	id := n.lastID
	c := l.best()
	n.calls[id] = &call{c, done}
	to := c.other(n)
	n.c.world.After(timeout, func() {
		n.reads(func() { n.finish(id, nil, errs.New(errs.Timeout, "no answer from %s in time", peer)) })
	})
	n.c.world.Send(n.name, peer, c.stream(n), func() {
		to.reads(func() {
			if *c.side(to) {
				return // the connection was closed there before it was read
			}
			ask(to, func(result any, err error) {
				n.c.world.Send(peer, n.name, c.stream(to), func() {
					n.reads(func() {
						if *c.side(n) {
							return
						}
						n.finish(id, result, err)
					})
				})
			})
			to.settle()
		})
	})
}

func (n *node) finish(id uint64, result any, err error) {
	c := n.calls[id]
	if c == nil || n.down {
		return
	}
	delete(n.calls, id)
	c.done(result, err)
	n.settle()
}

// failCalls ends the calls of a connection that is gone.
func (n *node) failCalls(gone *conn) {
	for _, id := range slices.Sorted(maps.Keys(n.calls)) {
		if c := n.calls[id]; c != nil && c.conn == gone {
			n.c.world.After(0, func() {
				n.reads(func() { n.finish(id, nil, errs.New(errs.ConnectionLost, "the connection was lost")) })
			})
		}
	}
}

// callNode asks any node, through a third where only that one reaches it.
func (n *node) callNode(peer string, timeout time.Duration, ask answerer, done func(result any, err error)) {
	helper, indirect := n.core.ReachOf(n.now(), peer).Via()
	if !indirect {
		n.send(peer, timeout, ask, done)
		return
	}
	n.send(helper, timeout, func(h *node, answer func(any, error)) {
		if h.links[peer] == nil || h.core.ReachOf(h.now(), peer) != cluster.ReachDirect {
			answer(nil, unavailable(peer))
			return
		}
		h.send(peer, timeout, ask, answer)
	}, done)
}

// ask asks a peer what the replica wants to know.
func (n *node) ask(c replica.Call) {
	n.callNode(c.Peer, callTimeout, func(to *node, answer func(any, error)) {
		if to.stalled && replica.Ordered(c.Method) {
			return // it reads, and does nothing
		}
		result, err := to.rep.Handle(to.now(), n.name, c.Params)
		answer(result, err)
	}, func(result any, err error) { n.rep.Answered(n.now(), c, result, err) })
}

// ping asks a peer for a sign of life.
func (n *node) ping(peer string) {
	l := n.links[peer]
	sent := n.now()
	incarnation, ready, hash := n.core.Incarnation(), n.core.Ready(), n.db.Digest().Hash()
	if l == nil {
		return
	}
	n.send(peer, n.c.cfg.DeadAfter, func(to *node, answer func(any, error)) {
		to.step(cluster.Pinged{Peer: n.name, Incarnation: incarnation, Ready: ready})
		digest := to.db.Digest()
		a := cluster.Answer{
			Ready: to.core.Ready(), Known: to.core.Highest(n.name), Reach: to.core.Reaches(to.now()),
			Applied: digest[n.name], Hash: digest.Hash(),
		}
		if a.Hash != hash {
			a.Digest = digest
		}
		answer(a, nil)
	}, func(result any, err error) {
		if err != nil || n.links[peer] != l {
			return
		}
		a := result.(cluster.Answer)
		n.step(cluster.Answered{Peer: peer, RTT: n.now().Sub(sent), Answer: a})
		if a.Digest != nil {
			n.rep.Saw(n.now(), peer, a.Digest)
		}
	})
}

// inquire asks a member whether it reaches another one.
func (n *node) inquire(member, about string) {
	n.send(member, n.c.cfg.AskTimeout, func(m *node, answer func(any, error)) { m.try(about, answer) },
		func(result any, err error) {
			verdict := cluster.Silent
			if err == nil {
				verdict = result.(cluster.Verdict)
			}
			n.step(cluster.Told{About: about, By: member, Verdict: verdict})
		})
}

// try finds out whether this node reaches a peer now: by a ping if they are
// connected, by a dial if not.
func (n *node) try(peer string, answer func(any, error)) {
	w := n.c.world
	to := n.c.nodes[peer]
	dial := func() {
		refused := (to.down || w.Rejects(n.name, peer)) && !w.IsCut(n.name, peer)
		w.After(3*w.Latency(), func() {
			verdict := cluster.Silent
			if refused {
				verdict = cluster.Refused
			}
			answer(verdict, nil)
		})
	}
	if n.links[peer] == nil {
		dial()
		return
	}
	n.send(peer, n.c.cfg.AskTimeout*4/5, func(_ *node, pong func(any, error)) { pong(nil, nil) },
		func(_ any, err error) {
			switch {
			case err == nil:
				answer(cluster.Reached, nil)
			case errs.KindOf(err) == errs.Timeout:
				answer(cluster.Silent, nil)
			default:
				dial()
			}
		})
}

// goodbye tells all that this node leaves, then it ends.
func (n *node) goodbye(done func()) {
	incarnation := n.core.Incarnation()
	left := 0
	over := false
	end := func() {
		if !over {
			over = true
			n.crash()
			done()
		}
	}
	for _, m := range n.core.Members(n.now()) {
		if m.Self || m.State != cluster.Joining && m.State != cluster.Alive && m.State != cluster.Suspect {
			continue
		}
		left++
		n.callNode(m.Name, time.Second, func(to *node, answer func(any, error)) {
			to.step(cluster.Goodbye{Peer: n.name, Incarnation: incarnation})
			answer(nil, nil)
		}, func(any, error) {
			if left--; left == 0 {
				end()
			}
		})
	}
	n.settle()
	if left == 0 {
		end()
	}
}
