package sim

import (
	"fmt"

	"github.com/glassbox-dev/glassbox/harness"
)

// Apply does something bad to the cluster, or ends it. What does not fit (to
// kill what does not run) changes nothing: a schedule of which a part was left out
// is still one.
func (c *Cluster) Apply(f harness.Fault) error {
	n := c.nodes[f.Node]
	if n == nil && f.Action != harness.Heal {
		n = c.nodes[f.Link.Node]
		if n == nil {
			return fmt.Errorf("%s: there is no node %q", f, f.Node)
		}
	}
	c.log("-- %s", f)
	switch f.Action {
	case harness.Kill:
		if !n.down {
			n.crash()
		}
	case harness.Start:
		if n.down {
			c.start(n.name)
		}
	case harness.Freeze, harness.Pause:
		if !n.down && !n.frozen {
			n.freeze()
			n.paused = f.Action == harness.Pause
		}
	case harness.Thaw:
		if n.frozen && !n.down {
			n.thaw(n.paused)
		}
	case harness.Leave:
		if !n.down && !n.frozen {
			n.goodbye(func() { c.log("%s has left", n.name) })
		}
	case harness.Stall:
		n.stalled = true
	case harness.Drop:
		if l := n.links[f.Link.Peer]; l != nil && !n.down && !n.frozen {
			for _, one := range []*conn{l.dialled, l.inbound} {
				if one != nil {
					n.breakOff(f.Link.Peer, one)
				}
			}
			n.settle()
		}
	case harness.Heal:
		c.heal()
	case harness.Cut, harness.Delay, harness.Lose, harness.Reject:
		c.breakLink(f)
	default:
		return fmt.Errorf("%q cannot be simulated", f.Action)
	}
	return nil
}

// breakOff resets a connection: both ends learn of it.
func (n *node) breakOff(peer string, one *conn) {
	other := one.other(n)
	n.c.world.Send(n.name, peer, one.stream(n), func() {
		other.reads(func() {
			other.lost(n.name, one)
			other.settle()
		})
	})
	n.lost(peer, one)
}

func (c *Cluster) breakLink(f harness.Fault) {
	for _, peer := range c.names {
		if peer == f.Link.Node || f.Link.Peer != "" && f.Link.Peer != peer {
			continue
		}
		for _, way := range ways(f.Link, peer) {
			switch f.Action {
			case harness.Cut:
				c.world.Cut(way[0], way[1])
			case harness.Delay:
				c.world.Slow(way[0], way[1], f.Link.Delay)
			case harness.Lose:
				c.world.Lose(way[0], way[1], f.Link.Loss)
			case harness.Reject:
				c.world.Reject(way[0], way[1])
			}
		}
	}
}

func ways(l harness.Link, peer string) (list [][2]string) {
	if l.Direction != harness.In {
		list = append(list, [2]string{l.Node, peer})
	}
	if l.Direction != harness.Out {
		list = append(list, [2]string{peer, l.Node})
	}
	return list
}

// heal mends all links and ends what stalls.
func (c *Cluster) heal() {
	for _, a := range c.names {
		c.nodes[a].stalled = false
		for _, b := range c.names {
			if a != b {
				c.world.Heal(a, b)
			}
		}
	}
	for _, l := range c.far {
		c.breakLink(harness.Fault{Action: harness.Delay, Link: l})
	}
}

// endAllTrouble makes the cluster whole again.
func (c *Cluster) endAllTrouble() {
	c.log("-- all trouble ends")
	for _, name := range c.names {
		n := c.nodes[name]
		if n.frozen && !n.down {
			n.thaw(n.paused)
		}
		if c.nodes[name].down {
			c.start(name)
		}
	}
	c.heal()
}
