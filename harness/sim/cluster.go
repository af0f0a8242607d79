package sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/harness/simnet"
	"github.com/glassbox-dev/glassbox/memdb"
)

// epoch is when every simulation begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Cluster is a number of simulated nodes. It is used from one goroutine.
type Cluster struct {
	world   *simnet.World
	cfg     cluster.Config
	names   []string
	nodes   map[string]*node
	text    strings.Builder                // what happened, a line each
	quiet   bool                           // nothing is written down
	far     []harness.Link                 // are always slow
	sighted func(n *node, e cluster.Event) // hears what nodes say of each other; may be nil

	gentle    bool // what is broken makes no node look dead
	failed    int  // members declared dead
	deaths    int  // members declared dead or left, or suspected
	conflicts []registry.Event
	pauses    [][2]time.Time                       // of any node, from when to when; what it was asked for meanwhile it did then
	apart     map[[2]string]apart                  // how a node, the first, last saw another one
	over      map[string]bool                      // the pids of processes that have ended
	confirmed map[string]bool                      // the claims that were, by node and stamp
	told      map[string]map[string]registry.Event // by node and life: the names it said it holds
	heard     map[string]uint64                    // by receiver, origin and life: the newest message
	faults    []string                             // what was broken of the rules, as it was seen
}

// New starts n nodes at the same moment.
func New(seed uint64, n int, preset string) (*Cluster, error) {
	cfg, err := cluster.Preset(preset)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		world: simnet.New(seed, epoch), cfg: cfg, nodes: map[string]*node{},
		told: map[string]map[string]registry.Event{}, heard: map[string]uint64{}, confirmed: map[string]bool{}, over: map[string]bool{}, apart: map[[2]string]apart{},
	}
	for i := range n {
		c.names = append(c.names, fmt.Sprintf("n%d", i+1))
	}
	for _, name := range c.names {
		c.start(name)
	}
	return c, nil
}

func (c *Cluster) membership(self string) cluster.Config {
	cfg := c.cfg
	cfg.Cluster, cfg.Self, cfg.Peers = "sim", self, map[string]string{}
	for _, name := range c.names {
		if name != self {
			cfg.Peers[name] = name + ":1"
		}
	}
	return cfg
}

// log writes down what happened.
func (c *Cluster) log(format string, args ...any) {
	if c.quiet {
		return
	}
	fmt.Fprintf(&c.text, "%12.6f  ", c.world.Now().Sub(epoch).Seconds())
	fmt.Fprintf(&c.text, format, args...)
	c.text.WriteByte('\n')
}

// broken notes that a rule was seen broken.
func (c *Cluster) broken(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	c.log("BROKEN: %s", what)
	c.faults = append(c.faults, fmt.Sprintf("at %s: %s", c.world.Now().Sub(epoch).Round(time.Microsecond), what))
}

func claimKey(c memdb.Claim) string { return fmt.Sprintf("%s@%d", c.Node, c.Stamp) }

// member takes what a node says of another one.
func (c *Cluster) member(n *node, e cluster.Event) {
	c.log("%s: %s %s: %s", n.name, e.Type, e.Member, e.Why)
	if c.sighted != nil {
		c.sighted(n, e)
	}
	if e.Type == cluster.MemberFailed && c.gentle {
		c.broken("%s takes %s for dead, and all that was broken were connections, and one link refused: %s", n.id(), e.Member, e.Why)
	}
	if e.Type == cluster.MemberFailed {
		c.failed++
	}
	pair := [2]string{n.name, e.Member}
	c.apart[pair] = c.apart[pair].told(e.Type, c.world.Now(), c.cfg.DeadAfter)
	if e.Type != cluster.MemberJoined && e.Type != cluster.MemberRecovered {
		c.deaths++
	}
}

// wereApart reports whether one of two nodes did not wait for the other, at any time
// since.
func (c *Cluster) wereApart(a, b string, since time.Time) bool {
	return c.apart[[2]string{a, b}].at(c.world.Now(), since, c.cfg.DeadAfter) || c.apart[[2]string{b, a}].at(c.world.Now(), since, c.cfg.DeadAfter)
}

func (n *node) id() string { return fmt.Sprintf("%s#%d", n.name, n.life) }

// onName takes what a node says of its names.
func (n *node) onName(e registry.Event) {
	c := n.c
	c.log("%s: %s %q %s", n.name, e.Type, e.Claim.Name, e.Why)
	held := c.told[n.id()]
	if held == nil {
		held = map[string]registry.Event{}
		c.told[n.id()] = held
	}
	switch e.Type {
	case registry.NameRegistered:
		if _, twice := held[e.Claim.Name]; twice {
			c.broken("%s tells that it has %q, which it has already", n.id(), e.Claim.Name)
		}
		held[e.Claim.Name] = e
		c.confirmed[claimKey(e.Claim)] = true
	case registry.NameUnregistered:
		if _, has := held[e.Claim.Name]; !has {
			c.broken("%s tells that it gives up %q, which it never said it had", n.id(), e.Claim.Name)
		}
		delete(held, e.Claim.Name)
	case registry.NameConflict:
		c.conflicts = append(c.conflicts, e)
		winner, loser := memdb.Claimed{Claim: *e.Winner, Confirmed: true}, memdb.Claimed{Claim: e.Claim, Confirmed: true}
		if !c.confirmed[claimKey(*e.Winner)] || !memdb.Better(winner, loser) {
			c.broken("%s gives %q up to %s, which was not confirmed or is not better than its own %s", n.id(), e.Claim.Name, claimText(*e.Winner), claimText(e.Claim))
		}
		if since := time.UnixMicro(int64(min(e.Winner.Stamp, e.Claim.Stamp))); !c.wereApart(e.Claim.Node, e.Winner.Node, since) {
			c.broken("%s gives %q up to %s, and neither node was without the other since %s", n.id(), e.Claim.Name, claimText(*e.Winner), since.Sub(epoch))
		}
	}
}

// onFeed takes the messages of a peer: each at most once, and in order.
func (n *node) onFeed(_, origin string, incarnation, _ uint64, entries []json.RawMessage) {
	for _, raw := range entries {
		var number uint64
		if err := json.Unmarshal(raw, &number); err != nil {
			n.c.broken("%s got a message of %s that cannot be read: %s", n.name, origin, raw)
		}
		key := fmt.Sprintf("%s %s %d", n.id(), origin, incarnation)
		if number <= n.c.heard[key] {
			n.c.broken("%s got message %d of %s after %d", n.name, number, origin, n.c.heard[key])
		}
		n.c.heard[key] = number
	}
}

// publish sends a message to all.
func (n *node) publish() {
	n.out.Append(json.RawMessage(fmt.Sprint(n.out.Last() + 1)))
	n.rep.Grew(n.now())
	n.settle()
}

// whole says what is wrong with the cluster as a whole, "" if nothing is: every
// node sees every other one alive and reaches it.
func (c *Cluster) whole() string {
	for _, name := range c.names {
		n := c.nodes[name]
		if n.down || n.frozen {
			return name + " does not run"
		}
		for _, m := range n.core.Members(n.now()) {
			if m.State != cluster.Alive || m.Reach != cluster.ReachDirect {
				return fmt.Sprintf("for %s %s is %s, reach %s: %s", name, m.Name, m.State, m.Reach, m.Why)
			}
		}
	}
	return ""
}
