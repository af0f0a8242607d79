package cluster

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sim is a few cores on a network of the test's making, in virtual time, on one
// goroutine, repeatable by its seed. It treats the cores as the shell does:
// links of up to two connections, what a cut holds back comes when it heals, a
// frozen node reads when it thaws, and then gets its late tick.
type sim struct {
	t     *testing.T
	cfg   Config
	rand  *rand.Rand
	now   time.Time
	due   []pending
	names []string
	nodes map[string]*simNode
	cut   map[[2]string]bool // one direction of a way: what is sent is held back
	wall  map[[2]string]bool // dials are refused
	held  map[[2]string][]func()
	sent  map[[2]string]time.Time // when what was sent last arrives: order is kept
}

type simNode struct {
	*watcher
	s      *sim
	name   string
	down   bool
	frozen bool
	asked  time.Time // for which time the tick is wanted that is late now
	inbox  []func()  // what came while frozen
	links  map[string]*simLink
	failed map[string]time.Time // when it declared whom dead last
}

// simLink is all connections with one incarnation of a peer.
type simLink struct {
	incarnation uint64
	dialled     *simConn
	inbound     *simConn
}

type simConn struct{ dialler, acceptor string }

func (c *simConn) other(node string) string {
	if c.dialler == node {
		return c.acceptor
	}
	return c.dialler
}

func newSim(t *testing.T, seed uint64, n int) *sim {
	cfg := testConfig(t, []string{"local", "lan"}[seed%2])
	s := &sim{
		t: t, cfg: cfg, rand: rand.New(rand.NewPCG(seed, uint64(n))), now: epoch, nodes: map[string]*simNode{},
		cut: map[[2]string]bool{}, wall: map[[2]string]bool{}, held: map[[2]string][]func(){}, sent: map[[2]string]time.Time{},
	}
	for i := range n {
		s.names = append(s.names, fmt.Sprintf("n%d", i+1))
	}
	for _, name := range s.names {
		s.start(name)
	}
	return s
}

// start starts a node, or its next incarnation.
func (s *sim) start(name string) {
	cfg := s.cfg
	cfg.Self, cfg.Addr, cfg.Peers = name, name+":1", map[string]string{}
	for _, peer := range s.names {
		if peer != name {
			cfg.Peers[peer] = peer + ":1"
		}
	}
	core := NewCore(cfg, s.now, rand.New(rand.NewPCG(s.rand.Uint64(), 0)))
	s.nodes[name] = &simNode{watcher: watch(s.t, core), s: s, name: name, links: map[string]*simLink{}, failed: map[string]time.Time{}}
}

func (s *sim) after(d time.Duration, do func()) {
	i, _ := slices.BinarySearchFunc(s.due, s.now.Add(d), func(p pending, at time.Time) int {
		if p.at.After(at) {
			return 1
		}
		return -1
	})
	s.due = slices.Insert(s.due, i, pending{s.now.Add(d), do})
}

func (s *sim) latency() time.Duration {
	return 50*time.Microsecond + time.Duration(s.rand.Int64N(int64(2*time.Millisecond)))
}

// send brings something from one node to another, in order; a cut holds it back.
func (s *sim) send(from, to string, do func()) {
	way := [2]string{from, to}
	at := latest(s.sent[way].Add(1), s.now.Add(s.latency()))
	s.sent[way] = at
	s.after(at.Sub(s.now), func() {
		if s.cut[way] || len(s.held[way]) > 0 {
			s.held[way] = append(s.held[way], do)
			return
		}
		do()
	})
}

func (s *sim) heal(a, b string) {
	for _, way := range [][2]string{{a, b}, {b, a}} {
		s.cut[way], s.wall[way] = false, false
		held := s.held[way]
		s.held[way] = nil
		for _, do := range held {
			s.send(way[0], way[1], do)
		}
	}
}

func (s *sim) apart(a, b string) bool { return s.cut[[2]string{a, b}] || s.cut[[2]string{b, a}] }

// run lets time pass.
func (s *sim) run(d time.Duration) {
	end := s.now.Add(d)
	for {
		var who *simNode
		next := end
		for _, name := range s.names {
			n := s.nodes[name]
			if due := n.due(); !n.down && !n.frozen && !due.After(next) {
				who, next = n, due
			}
		}
		switch {
		case len(s.due) > 0 && !s.due[0].at.After(next):
			p := s.due[0]
			s.due = s.due[1:]
			s.now = latest(s.now, p.at)
			p.do()
		case who != nil:
			s.now = latest(s.now, next)
			who.tick(0)
		default:
			s.now = end
			return
		}
	}
}

func (n *simNode) due() time.Time {
	due := n.s.now.Add(n.s.cfg.PingEvery)
	if at := n.core.Next(); !at.IsZero() {
		due = earliest(due, at)
	}
	if !n.core.Ready() {
		due = earliest(due, n.s.now.Add(joinPoll))
	}
	return due
}

// reads handles something on the node, now or when it thaws.
func (n *simNode) reads(do func()) {
	switch {
	case n.down:
	case n.frozen:
		n.inbox = append(n.inbox, do)
	default:
		do()
	}
}

func (n *simNode) tick(late time.Duration) {
	if late < tolerance {
		late = 0
	}
	n.give(Tick{late})
	n.give(Applied{nil})
}

func (n *simNode) give(in Input) {
	for _, out := range n.step(n.s.now, in) {
		switch out := out.(type) {
		case Dial:
			n.s.dial(n, n.s.nodes[out.Peer])
		case Ping:
			n.ping(out.Peer)
		case Ask:
			for _, member := range out.Members {
				n.ask(member, out.About)
			}
		case Drop:
			n.hangUp(n.unlink(out.Peer))
		case Emit:
			if out.Event.Type == MemberFailed {
				n.failed[out.Event.Member] = n.s.now
			}
		case Forget, Reborn, Superseded:
			require.Fail(n.s.t, "not in this play", "%T", out)
		}
	}
}

func (n *simNode) info() Info {
	return Info{Incarnation: n.core.Incarnation(), Addr: n.core.cfg.Addr, Ready: n.core.Ready()}
}

// dial is a dial and the handshake behind it, done in one go at its end.
func (s *sim) dial(from, to *simNode) {
	fail := func(d time.Duration, refused bool, why string) {
		s.after(d, func() { from.reads(func() { from.give(DialFailed{to.name, refused, why}) }) })
	}
	rtt := 3 * s.latency()
	switch {
	case s.apart(from.name, to.name), to.frozen && !s.wall[[2]string{from.name, to.name}]:
		fail(s.cfg.HandshakeTimeout, false, "timed out")
	case to.down, s.wall[[2]string{from.name, to.name}]:
		fail(rtt, true, "connection refused")
	default:
		s.after(rtt, func() {
			if from.down || from.frozen || to.down || to.frozen || s.apart(from.name, to.name) || s.nodes[to.name] != to {
				fail(0, false, "connection reset")
				return
			}
			s.greet(from, to)
		})
	}
}

func (s *sim) greet(from, to *simNode) {
	from.give(Known{to.name, to.core.Highest(from.name)})
	conn := &simConn{from.name, to.name}
	if to.core.Refuses(from.name, from.core.Incarnation()) != "" || from.core.Refuses(to.name, to.core.Incarnation()) != "" {
		from.give(DialFailed{Peer: to.name, Why: "handshake: refused"})
		return
	}
	info := from.info()
	to.connected(from.name, conn, false, info)
	from.connected(to.name, conn, true, to.info())
}

func (n *simNode) connected(peer string, conn *simConn, dialled bool, info Info) {
	l := n.links[peer]
	if l == nil || l.incarnation != info.Incarnation {
		n.hangUp(l)
		l = &simLink{incarnation: info.Incarnation}
		n.links[peer] = l
	}
	old := &l.inbound
	if dialled {
		old = &l.dialled
	}
	if *old != nil {
		n.closes(*old)
	}
	*old = conn
	n.give(Connected{peer, dialled, info})
}

func (n *simNode) unlink(peer string) *simLink {
	l := n.links[peer]
	delete(n.links, peer)
	return l
}

func (n *simNode) hangUp(l *simLink) {
	if l == nil {
		return
	}
	for _, conn := range []*simConn{l.dialled, l.inbound} {
		if conn != nil {
			n.closes(conn)
		}
	}
}

// closes tells the other end, once it can be told.
func (n *simNode) closes(conn *simConn) {
	peer := conn.other(n.name)
	n.s.send(n.name, peer, func() {
		other := n.s.nodes[peer]
		other.reads(func() { other.lost(n.name, conn) })
	})
}

func (n *simNode) lost(peer string, conn *simConn) {
	l := n.links[peer]
	if l == nil {
		return
	}
	dialled := l.dialled == conn
	switch conn {
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
	n.give(Disconnected{Peer: peer, Dialled: dialled, Rest: rest, Why: "closed"})
}

// call sends a request by the link there is and brings what the peer answers.
func (n *simNode) call(peer string, answer func(*simNode) func()) {
	l := n.links[peer]
	if l == nil {
		return
	}
	to := n.s.nodes[peer]
	n.s.send(n.name, peer, func() {
		to.reads(func() {
			then := answer(to)
			n.s.send(peer, n.name, func() {
				n.reads(func() {
					if n.links[peer] == l {
						then()
					}
				})
			})
		})
	})
}

func (n *simNode) ping(peer string) {
	sent := n.s.now
	n.call(peer, func(to *simNode) func() {
		to.give(Pinged{n.name, n.core.Incarnation(), n.core.Ready()})
		a := Answer{Ready: to.core.Ready(), Known: to.core.Highest(n.name), Reach: to.core.Reaches(n.s.now)}
		return func() { n.give(Answered{peer, n.s.now.Sub(sent), a}) }
	})
}

// ask has a member try a peer. A question without an answer is silence.
func (n *simNode) ask(member, about string) {
	told := false
	tell := func(v Verdict) {
		if !told {
			told = true
			n.give(Told{about, member, v})
		}
	}
	n.s.after(n.s.cfg.AskTimeout, func() { n.reads(func() { tell(Silent) }) })
	n.call(member, func(m *simNode) func() {
		verdict := m.tries(n.s.nodes[about])
		return func() { tell(verdict) }
	})
}

func (n *simNode) tries(peer *simNode) Verdict {
	switch {
	case n.s.apart(n.name, peer.name):
		return Silent
	case n.links[peer.name] != nil && !peer.down && !peer.frozen:
		return Reached
	case peer.down, n.s.wall[[2]string{n.name, peer.name}]:
		return Refused
	default:
		return Silent
	}
}

// The faults.

func (s *sim) crash(name string) {
	n := s.nodes[name]
	n.down = true
	for _, peer := range s.names {
		n.hangUp(n.unlink(peer))
	}
}

func (s *sim) freeze(name string) {
	n := s.nodes[name]
	n.frozen, n.asked = true, n.due()
}

func (s *sim) thaw(name string) {
	n := s.nodes[name]
	n.frozen = false
	inbox := n.inbox
	n.inbox = nil
	for _, do := range inbox {
		do()
	}
	n.tick(max(0, s.now.Sub(n.asked)))
}

// breaks resets what connects two nodes.
func (s *sim) breaks(a, b string) {
	n := s.nodes[a]
	if l := n.links[b]; l != nil && !n.down && !n.frozen {
		for _, conn := range []*simConn{l.dialled, l.inbound} {
			if conn != nil {
				n.closes(conn)
				n.lost(b, conn)
			}
		}
	}
}

// trouble does something bad, or ends it, to nodes that it returns.
func (s *sim) trouble() []string {
	order := s.rand.Perm(len(s.names))
	a, b := s.names[order[0]], s.names[order[1]]
	n := s.nodes[a]
	switch s.rand.IntN(8) {
	case 0:
		s.cut[[2]string{a, b}], s.cut[[2]string{b, a}] = true, true
	case 1:
		s.cut[[2]string{a, b}] = true
	case 2:
		s.wall[[2]string{a, b}] = true
	case 3:
		s.breaks(a, b)
	case 4, 5:
		s.heal(a, b)
	case 6:
		if n.frozen {
			s.thaw(a)
		} else if !n.down {
			s.freeze(a)
		}
		return []string{a}
	case 7:
		if n.down {
			s.start(a)
		} else if !n.frozen {
			s.crash(a)
		}
		return []string{a}
	}
	return []string{a, b}
}

func (s *sim) endAllTrouble() {
	for i, a := range s.names {
		if s.nodes[a].frozen {
			s.thaw(a)
		}
		if s.nodes[a].down {
			s.start(a)
		}
		for _, b := range s.names[:i] {
			s.heal(a, b)
		}
	}
}

func (s *sim) requireWhole(msg string) {
	s.t.Helper()
	for _, name := range s.names {
		for _, m := range s.nodes[name].core.Members(s.now) {
			require.Equal(s.t, Alive, m.State, "%s: %s on %s: %s", msg, m.Name, name, m.Why)
			require.Equal(s.t, ReachDirect, m.Reach, "%s: %s on %s: %s", msg, m.Name, name, m.Why)
		}
	}
}

var seeds = flag.Uint64("seeds", 20, "how many simulations of each kind are run")

// eachSeed runs a simulation for some seeds and numbers of nodes.
func eachSeed(t *testing.T, f func(s *sim)) {
	for seed := range *seeds {
		n := 3 + int(seed%3)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { f(newSim(t, seed, n)) })
	}
}

// TestTheyAgreeOnceFaultsHeal: whatever happened, everybody sees everybody alive
// again soon after it ended: an old dial has to time out, the next one must be
// due. Those between whom nothing was wrong never doubted each other.
func TestTheyAgreeOnceFaultsHeal(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.run(time.Second)
		s.requireWhole("formed")
		troubled := map[[2]string]bool{}
		for range 25 {
			s.run(time.Duration(s.rand.Int64N(int64(2 * time.Second))))
			switch who := s.trouble(); len(who) {
			case 1:
				for _, name := range s.names {
					troubled[[2]string{who[0], name}], troubled[[2]string{name, who[0]}] = true, true
				}
			default:
				troubled[[2]string{who[0], who[1]}], troubled[[2]string{who[1], who[0]}] = true, true
			}
		}
		s.endAllTrouble()
		s.run(s.cfg.HandshakeTimeout + s.cfg.RedialMax + s.cfg.PingEvery + 100*time.Millisecond)
		s.requireWhole("healed")
		for _, a := range s.names {
			for _, b := range s.names {
				if a != b && !troubled[[2]string{a, b}] {
					require.Equal(s.t, MemberJoined, s.nodes[a].told[b].Type, "%s never had a reason to doubt %s: %s", a, b, s.nodes[a].told[b].Why)
				}
			}
		}
	})
}

// TestAFrozenOneIsDead on all others between DeadAfter less a ping's time and
// DeadAfter after it froze, also on those that reached it through others only.
func TestAFrozenOneIsDead(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.run(time.Second)
		victim := s.names[0]
		if cut := s.names[1]; s.rand.IntN(2) == 0 {
			s.cut[[2]string{victim, cut}], s.cut[[2]string{cut, victim}] = true, true
		}
		s.run(3*time.Second + time.Duration(s.rand.Int64N(int64(time.Second))))
		s.freeze(victim)
		frozen := s.now
		s.run(2 * s.cfg.DeadAfter)
		for _, name := range s.names[1:] {
			died, ok := s.nodes[name].failed[victim]
			require.True(s.t, ok, "%s is not dead on %s", victim, name)
			took := died.Sub(frozen)
			require.GreaterOrEqual(s.t, took, s.cfg.DeadAfter-s.cfg.PingEvery-10*time.Millisecond)
			require.LessOrEqual(s.t, took, s.cfg.DeadAfter+10*time.Millisecond)
		}
	})
}

// TestAKilledOneIsDead on all others as soon as they have asked each other, and
// whoever was in its place is not.
func TestAKilledOneIsDead(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.run(time.Second + time.Duration(s.rand.Int64N(int64(time.Second))))
		victim := s.names[0]
		s.crash(victim)
		killed := s.now
		s.run(s.cfg.AskTimeout + 30*time.Millisecond)
		for _, name := range s.names[1:] {
			died, ok := s.nodes[name].failed[victim]
			require.True(s.t, ok, "%s is not dead on %s: %v", victim, name, s.nodes[name].core.Members(s.now))
			require.LessOrEqual(s.t, died.Sub(killed), s.cfg.AskTimeout)
		}
		s.start(victim)
		s.run(s.cfg.RedialMax + 100*time.Millisecond)
		s.requireWhole("reborn")
	})
}
