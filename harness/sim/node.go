package sim

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"encoding/json"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/cluster/replica"
	"github.com/glassbox-dev/glassbox/harness/simnet"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Times of the shell that the node stands for.
const (
	callTimeout = 5 * time.Second      // of one message of the replica
	joinPoll    = 2 * time.Millisecond // how often a joining node looks whether it has caught up
	tolerance   = 50 * time.Millisecond
)

// node is one incarnation of a node: the production cores and a real memdb, and
// what the shells around them do, in virtual time.
type node struct {
	c    *Cluster
	name string
	addr string
	life int

	core  *cluster.Core
	db    *memdb.DB
	rep   *replica.Core
	out   *journal.Journal[json.RawMessage] // its events, for the peers
	seen  []cluster.Member
	links map[string]*link

	stepped bool // the core was, since the replica was told of the members
	down    bool
	frozen  bool
	paused  bool          // the frozen one is a whole machine: its clock stands still
	stalled bool          // it answers pings and applies nothing
	behind  time.Duration // its clock, behind the world's
	inbox   []func()      // what came while it was frozen
	backlog []func()      // resets the connections that its kernel has accepted
	frozeAt time.Time     // by the world's clock
	asked   time.Time     // for when a tick was asked, by its own clock
	tickSeq uint64
	awake   time.Time               // since when it runs without a pause, by the world's clock
	greeted map[string]memdb.Digest // what each peer knew when it greeted

	procs   [processes + 1]string // the pids of those that run
	started int                   // processes

	calls   map[uint64]*call // under way
	lastID  uint64
	waiting map[uint64]func(registry.Done)
}

// link is all connections with one incarnation of a peer.
type link struct {
	incarnation      uint64
	dialled, inbound *conn
}

// conn is one connection.
type conn struct {
	dialler, acceptor *node
	closed            [2]bool // by the dialler, by the acceptor
	sent              [2]simnet.Stream
}

// stream is what a side sends.
func (c *conn) stream(n *node) *simnet.Stream {
	if c.dialler == n {
		return &c.sent[0]
	}
	return &c.sent[1]
}

func (c *conn) side(n *node) *bool {
	if c.dialler == n {
		return &c.closed[0]
	}
	return &c.closed[1]
}

func (c *conn) other(n *node) *node {
	if c.dialler == n {
		return c.acceptor
	}
	return c.dialler
}

// best is the connection for a node's own requests.
func (l *link) best() *conn {
	if l.dialled != nil {
		return l.dialled
	}
	return l.inbound
}

var silent = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))

// start starts a node, or its next incarnation.
func (c *Cluster) start(name string) *node {
	old := c.nodes[name]
	n := &node{c: c, name: name, addr: name + ":1", links: map[string]*link{}, calls: map[uint64]*call{}, waiting: map[uint64]func(registry.Done){}, greeted: map[string]memdb.Digest{}, awake: c.world.Now()}
	if old != nil {
		n.life = old.life + 1
		if c.allAtHome(name) {
			n.addr = fmt.Sprintf("%s:%d", name, 1+n.life%3)
		}
	}
	c.nodes[name] = n
	for _, other := range c.names {
		c.apart[[2]string{name, other}] = apart{still: true}
	}
	cfg := c.membership(name)
	cfg.Addr = n.addr
	n.core = cluster.NewCore(cfg, n.now(), rand.New(rand.NewPCG(c.world.Rand.Uint64(), 0)))
	db, err := memdb.Open(name)
	if err != nil {
		panic(err) // the schema is wrong
	}
	n.db = db
	n.out = journal.New(journal.Limits{Entries: 4096, Bytes: 1 << 20}, func(raw json.RawMessage) int { return len(raw) })
	n.rep = replica.NewCore(replica.Config{
		Self: name, DB: db, DeadAfter: cfg.DeadAfter, OnName: n.onName, OnFeed: n.onFeed,
		Feeds: map[string]*journal.Journal[json.RawMessage]{"events": n.out}, Log: silent,
	})
	n.rep.SetIncarnation(n.core.Incarnation())
	c.log("%s starts as %s#%d", name, name, n.life)
	n.schedule()
	return n
}

// allAtHome reports whether all others are at their static addresses: two that
// have both moved could not find each other.
func (c *Cluster) allAtHome(but string) bool {
	for _, name := range c.names {
		if n := c.nodes[name]; name != but && n.addr != name+":1" {
			return false
		}
	}
	return true
}

// now is the node's own clock.
func (n *node) now() time.Time { return n.c.world.Now().Add(-n.behind) }

// schedule asks for the next tick, if it is due sooner than the one asked for.
func (n *node) schedule() {
	if n.down || n.frozen {
		return
	}
	due := n.now().Add(n.c.cfg.PingEvery)
	for _, at := range []time.Time{n.core.Next(), n.rep.Next()} {
		if !at.IsZero() && at.Before(due) {
			due = at
		}
	}
	if !n.core.Ready() {
		if at := n.now().Add(joinPoll); at.Before(due) {
			due = at
		}
	}
	if !n.asked.IsZero() && !due.Before(n.asked) {
		return
	}
	n.asked = due
	n.tickSeq++
	seq := n.tickSeq
	n.c.world.At(due.Add(n.behind), func() {
		if seq == n.tickSeq && !n.frozen {
			n.tick()
		}
	})
}

// tick tells the cores the time, late if the node was kept from running.
func (n *node) tick() {
	if n.down {
		return
	}
	late := n.now().Sub(n.asked)
	if late < tolerance {
		late = 0
	}
	n.asked = time.Time{}
	n.tickSeq++
	// Messages arrive whole: there are never bytes behind which answers could wait.
	n.step(cluster.Tick{Late: late})
	n.step(cluster.Applied{Digest: n.db.Digest()})
	n.rep.Tick(n.now())
	n.settle()
}

// reads handles something on the node, now or when it thaws.
func (n *node) reads(do func()) {
	switch {
	case n.down:
	case n.frozen:
		n.inbox = append(n.inbox, do)
	default:
		do()
	}
}

// settle carries out what the replica wants, tells it of the members, and asks for
// the next tick.
func (n *node) settle() {
	n.tellMembers()
	for {
		calls, done := n.rep.Take()
		for _, call := range calls {
			n.ask(call)
		}
		for _, d := range done {
			if w := n.waiting[d.ID]; w != nil {
				delete(n.waiting, d.ID)
				w(d)
			}
		}
		if len(calls) == 0 && len(done) == 0 {
			break
		}
	}
	n.schedule()
}

func (n *node) tellMembers() {
	if n.down || !n.stepped {
		return
	}
	n.stepped = false
	members := n.core.Members(n.now())
	same := func(a, b cluster.Member) bool {
		return a.State == b.State && a.Reach == b.Reach && a.Incarnation == b.Incarnation
	}
	if !slices.EqualFunc(members, n.seen, same) {
		n.seen = members
		n.rep.Members(n.now(), members)
	}
}

// step gives the core of the membership an input and does what it wants, in
// order.
func (n *node) step(in cluster.Input) {
	if n.down {
		return
	}
	n.stepped = true
	for _, out := range n.core.Step(n.now(), in) {
		switch out := out.(type) {
		case cluster.Dial:
			n.dial(out)
		case cluster.Ping:
			n.ping(out.Peer)
		case cluster.Ask:
			for _, member := range out.Members {
				n.inquire(member, out.About)
			}
		case cluster.Drop:
			n.hangUp(n.unlink(out.Peer))
		case cluster.Forget:
			n.unlink(out.Peer)
		case cluster.Emit:
			n.rep.Told(n.now(), out.Event)
			n.c.member(n, out.Event)
		case cluster.Open:
			n.c.log("%s has joined", n.name)
			n.c.checkGate(n)
		case cluster.Reborn:
			n.rep.SetIncarnation(out.Incarnation)
			for _, peer := range n.c.names {
				if l := n.unlink(peer); l != nil {
					n.hangUp(l)
					n.step(cluster.Disconnected{Peer: peer, Why: "this node took a higher incarnation"})
				}
			}
		case cluster.Superseded:
			n.c.log("%s ends: %s", n.name, out.Why)
			n.crash()
		}
	}
}

func (n *node) info() cluster.Info {
	return cluster.Info{Incarnation: n.core.Incarnation(), Addr: n.addr, Ready: n.core.Ready(), Digest: n.db.Digest()}
}

// dial is a dial and the handshake behind it, done in one go at its end.
func (n *node) dial(d cluster.Dial) {
	w := n.c.world
	fail := func(after time.Duration, refused bool, why string) {
		w.After(after, func() {
			n.reads(func() {
				n.step(cluster.DialFailed{Peer: d.Peer, Refused: refused, Why: why})
				n.settle()
			})
		})
	}
	to := n.c.nodes[d.Peer]
	rtt := 3*w.Latency() + w.Delay(n.name, d.Peer) + w.Delay(d.Peer, n.name)
	switch {
	case w.IsCut(n.name, d.Peer):
		fail(n.c.cfg.HandshakeTimeout, false, "timed out")
	case w.Rejects(n.name, d.Peer):
		fail(rtt, true, "connection refused")
	case to.down || !slices.Contains(d.Addrs, to.addr):
		fail(rtt, true, "connection refused")
	case to.frozen:
		n.waitFor(to, fail)
	default:
		w.After(rtt, func() {
			if n.down || to.down || to.frozen || w.IsCut(n.name, d.Peer) || n.c.nodes[to.name] != to {
				fail(0, false, "connection reset")
				return
			}
			if n.frozen {
				n.inbox = append(n.inbox, func() {
					n.step(cluster.DialFailed{Peer: d.Peer, Why: "connection reset"})
					n.settle()
				})
				return
			}
			n.greet(to)
		})
	}
}

// waitFor dials a frozen node: its kernel accepts, and it says nothing until it
// thaws. If it ends instead its kernel resets the connection.
func (n *node) waitFor(to *node, fail func(after time.Duration, refused bool, why string)) {
	w := n.c.world
	over := false
	once := func(do func()) func() {
		return func() {
			if !over {
				over = true
				do()
			}
		}
	}
	w.After(n.c.cfg.HandshakeTimeout, once(func() { fail(0, false, "timed out") }))
	to.backlog = append(to.backlog, once(func() { fail(w.Latency(), false, "connection reset") }))
	to.inbox = append(to.inbox, once(func() {
		if n.down || n.frozen || w.IsCut(n.name, to.name) || n.c.nodes[n.name] != n {
			fail(0, false, "connection reset")
			return
		}
		n.greet(to)
	}))
}

// greet is the end of a handshake, for both.
func (n *node) greet(to *node) {
	n.step(cluster.Known{By: to.name, Incarnation: to.core.Highest(n.name)})
	if n.down {
		return
	}
	mine, theirs := n.info(), to.info()
	if to.core.Refuses(n.name, mine.Incarnation) != "" || n.core.Refuses(to.name, theirs.Incarnation) != "" {
		n.step(cluster.DialFailed{Peer: to.name, Why: "handshake: refused"})
		n.settle()
		return
	}
	c := &conn{dialler: n, acceptor: to}
	to.connected(n.name, c, false, mine)
	to.settle()
	if n.down { // superseded meanwhile
		return
	}
	n.connected(to.name, c, true, theirs)
	n.settle()
}

func (n *node) connected(peer string, c *conn, dialled bool, info cluster.Info) {
	if n.core.Refuses(peer, info.Incarnation) != "" {
		n.close(c)
		return
	}
	old := n.links[peer]
	l := old
	if l == nil || l.incarnation != info.Incarnation {
		l = &link{incarnation: info.Incarnation}
		n.links[peer] = l
	}
	n.greeted[peer] = info.Digest
	slot := &l.inbound
	if dialled {
		slot = &l.dialled
	}
	replaced := *slot
	*slot = c
	n.step(cluster.Connected{Peer: peer, Dialled: dialled, Info: info})
	if replaced != nil {
		n.close(replaced)
	}
	if old != nil && old != l {
		n.rep.Down(n.now(), peer)
		n.hangUp(old)
	}
	if old != l && n.links[peer] == l {
		n.rep.Up(n.now(), peer, info)
	}
}

// unlink takes a link out of the table.
func (n *node) unlink(peer string) *link {
	l := n.links[peer]
	if l != nil {
		delete(n.links, peer)
		n.rep.Down(n.now(), peer)
	}
	return l
}

func (n *node) hangUp(l *link) {
	if l == nil {
		return
	}
	for _, c := range []*conn{l.dialled, l.inbound} {
		if c != nil {
			n.close(c)
		}
	}
}

// close ends a connection here; the other end is told once it can be.
func (n *node) close(c *conn) {
	if *c.side(n) {
		return
	}
	*c.side(n) = true
	n.failCalls(c)
	other := c.other(n)
	n.c.world.Send(n.name, other.name, c.stream(n), func() {
		other.reads(func() {
			other.lost(n.name, c)
			other.settle()
		})
	})
}

// lost takes the end of a connection.
func (n *node) lost(peer string, c *conn) {
	if *c.side(n) {
		return
	}
	*c.side(n) = true
	n.failCalls(c)
	l := n.links[peer]
	if l == nil {
		return
	}
	dialled := l.dialled == c
	switch c {
	case l.dialled:
		l.dialled = nil
	case l.inbound:
		l.inbound = nil
	default:
		return
	}
	rest := l.dialled != nil || l.inbound != nil
	if !rest {
		n.unlink(peer)
	}
	n.step(cluster.Disconnected{Peer: peer, Dialled: dialled, Rest: rest, Why: "closed by the peer"})
}

// crash ends the node without a word; its kernel closes what was connected.
func (n *node) crash() {
	n.down, n.awake = true, n.c.world.Now()
	for _, peer := range n.c.names {
		if l := n.links[peer]; l != nil {
			delete(n.links, peer)
			n.hangUp(l)
		}
	}
	for id := range n.waiting {
		delete(n.waiting, id)
	}
	n.inbox = nil
	for _, reset := range n.backlog {
		reset()
	}
	n.backlog = nil
}

// freeze keeps the node from running; if its whole machine is paused its clock
// stands still as well.
func (n *node) freeze() {
	n.frozen, n.frozeAt, n.awake = true, n.c.world.Now(), n.c.world.Now()
}

func (n *node) thaw(clockStoodStill bool) {
	n.frozen, n.awake = false, n.c.world.Now()
	n.c.pauses = append(n.c.pauses, [2]time.Time{n.frozeAt, n.awake})
	if clockStoodStill {
		n.behind += n.c.world.Now().Sub(n.frozeAt)
	}
	inbox := n.inbox
	n.inbox, n.backlog = nil, nil
	for _, do := range inbox {
		n.reads(do)
	}
	if n.asked.IsZero() {
		n.asked = n.now()
	}
	n.tick()
}

// request begins something that the replica answers later.
func (n *node) request(begin func(id uint64), done func(registry.Done)) {
	n.lastID++
	n.waiting[n.lastID] = done
	begin(n.lastID)
	n.settle()
}

// unavailable is the error of a call that was not sent.
func unavailable(peer string) error {
	return errs.New(errs.NodeUnavailable, "node %s is not connected", peer)
}
