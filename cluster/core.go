package cluster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/memdb"
)

// Core decides about membership. It is pure: time comes with each step,
// randomness from the generator it is given, and what is to be done is
// returned. It is used from one goroutine at a time.
type Core struct {
	cfg         Config
	rand        *rand.Rand
	started     time.Time
	incarnation uint64
	superseded  bool
	peers       map[string]*peer
	names       []string // of the peers, sorted

	ready      bool
	readySince time.Time
	ours       memdb.Position // how far our own changes go

	out []Output
}

// peer is what is known of one static peer.
type peer struct {
	name        string
	seed        string // its static address
	addr        string // the address in force; "" if it never said one
	state       State
	since       time.Time
	why         string
	incarnation uint64
	joined      bool // MemberJoined was told of this incarnation

	// Contact.
	connected   bool      // there is a connection to send requests on
	dialling    bool      // a dial is under way
	dialled     bool      // the connection is one we dialled
	nextDial    time.Time // zero: none is due
	backoff     time.Duration
	lastAnswer  time.Time     // of its handshake or to our ping
	lastReached time.Time     // the same, or to a member that told us so
	lastHeard   time.Time     // an answer, or bytes within a message
	longest     time.Duration // of our own pauses since lastAnswer
	others      time.Duration // of them together, capped
	rtt         time.Duration
	nextPing    time.Time
	lostAt      time.Time // when the last connection was lost; what others said before counts no more
	look        time.Time // when to look again whether others still reach it
	indirect    bool      // it lives only because another reaches it
	misses      int       // pings since the newest answer
	ready       bool      // it says that it has joined
	settled     bool      // reached, or judged dead, once: the gate does not wait for it

	// target is what it knew when it greeted us: while it lives, the gate stays
	// closed until that has been applied.
	target memdb.Digest

	// What others say, and what it says of others.
	reaches   map[string]time.Time // whom it reaches directly, and when they answered it
	reachedAt time.Time            // when it said so
	inquiry   *inquiry

	// Whether it keeps up with our changes.
	applied memdb.Position
	behind  time.Time // since when it has not advanced; zero: it has everything
	stalled bool
}

// NewCore returns the core of a node that starts now.
func NewCore(cfg Config, now time.Time, r *rand.Rand) *Core {
	c := &Core{
		cfg: cfg, rand: r, started: now, incarnation: newIncarnation(now, r),
		peers: map[string]*peer{}, names: slices.Sorted(maps.Keys(cfg.Peers)),
	}
	for _, name := range c.names {
		c.peers[name] = &peer{
			name: name, seed: cfg.Peers[name], state: Unknown, since: now, why: "not reached yet",
			nextDial: now, backoff: cfg.RedialMin,
		}
	}
	return c
}

// Incarnation returns this node's own.
func (c *Core) Incarnation() uint64 { return c.incarnation }

// Ready reports whether this node has joined.
func (c *Core) Ready() bool { return c.ready }

// Highest returns the highest incarnation known of a node, 0 if none is.
func (c *Core) Highest(node string) uint64 {
	if node == c.cfg.Self {
		return c.incarnation
	}
	if p := c.peers[node]; p != nil {
		return p.incarnation
	}
	return 0
}

// Step takes one input and returns what is to be done.
//
// Only at a Tick what is due by time is done. Any other input may be the first
// after a pause of this node; whether there was one, and that the deadlines are
// to be moved, the Tick behind it says.
func (c *Core) Step(now time.Time, in Input) []Output {
	c.out = nil
	switch in := in.(type) {
	case Tick:
		c.doubtSelf(now, in.Late)
	case Applied:
		c.ours = in.Digest[c.cfg.Self]
		c.openGate(now, in.Digest)
	case Known:
		c.learnOwn(in)
	default:
		c.stepPeer(now, in)
	}
	_, tick := in.(Tick)
	for _, name := range c.names {
		p := c.peers[name]
		c.vouch(now, p)
		if tick {
			c.contactDue(now, p)
			c.judge(now, p)
		}
	}
	return c.out
}

// stepPeer takes an input about one peer. One about somebody who is none is
// nobody's fault here and changes nothing.
func (c *Core) stepPeer(now time.Time, in Input) {
	switch in := in.(type) {
	case Connected:
		c.with(in.Peer, func(p *peer) { c.connect(now, p, in) })
	case Disconnected:
		c.with(in.Peer, func(p *peer) { c.disconnect(now, p, in) })
	case DialFailed:
		c.with(in.Peer, func(p *peer) { c.dialFailed(now, p, in) })
	case Answered:
		c.with(in.Peer, func(p *peer) { c.answered(now, p, in) })
	case Pinged:
		c.with(in.Peer, func(p *peer) { c.pinged(now, p, in) })
	case Heard:
		c.with(in.Peer, func(p *peer) { p.lastHeard = latest(p.lastHeard, in.At) })
	case Told:
		c.with(in.About, func(p *peer) { c.told(now, p, in) })
	case Goodbye:
		c.with(in.Peer, func(p *peer) { c.leave(now, p, in) })
	}
}

func (c *Core) with(name string, f func(*peer)) {
	if p := c.peers[name]; p != nil {
		f(p)
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (c *Core) emit(out Output) { c.out = append(c.out, out) }

// set changes a member's state and tells it. Of one that has not joined there
// is nothing to tell but that it left.
func (c *Core) set(now time.Time, p *peer, s State, event EventType, why string) {
	p.state, p.since, p.why, p.indirect = s, now, why, false
	if event == MemberLeft || event != "" && p.joined {
		c.emit(Emit{Event{Time: now, Type: event, Member: p.name, Incarnation: p.incarnation, Why: why}})
	}
}

// learnOwn takes the highest incarnation that a peer knows of this node's name.
// Before this node is ready nothing was done in its incarnation, and it takes a
// higher one; later there must be another start of it, and this one ends.
func (c *Core) learnOwn(in Known) {
	switch {
	case in.Incarnation <= c.incarnation:
	case !c.ready:
		c.incarnation = above(in.Incarnation, c.rand)
		c.emit(Reborn{c.incarnation})
	case !c.superseded:
		c.superseded = true
		c.emit(Superseded{fmt.Sprintf("node %s knows a later start of node %s (incarnation %d, this one is %d); "+
			"two processes may have been given the same name: this one ends", in.By, c.cfg.Self, in.Incarnation, c.incarnation)})
	}
}

// Next returns when a Tick is due; zero if none is.
func (c *Core) Next() time.Time {
	var next time.Time
	due := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, p := range c.peers {
		c.deadlines(p, due)
	}
	return next
}

// Members returns all members as this node sees them, itself included, sorted
// by name.
func (c *Core) Members(now time.Time) []Member {
	self := Member{
		Name: c.cfg.Self, State: Joining, Reach: ReachDirect, Incarnation: c.incarnation, Addr: c.cfg.Addr,
		Since: c.started, Why: c.waitsFor(), Self: true,
	}
	if c.ready {
		self.State, self.Since, self.Why = Alive, c.readySince, "this node itself"
	}
	members := []Member{self}
	for _, name := range c.names {
		p := c.peers[name]
		addr := p.addr
		if addr == "" {
			addr = p.seed
		}
		members = append(members, Member{
			Name: name, State: p.state, Reach: c.reach(now, p), Incarnation: p.incarnation, Addr: addr,
			RTTUS: p.rtt.Microseconds(), Since: p.since, Why: p.why,
		})
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return members
}
