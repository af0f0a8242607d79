package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb"
)

// A scenario is the story of one core, n1, among scripted peers, in virtual
// time. Its file holds commands, one a line, and beneath each what the core
// did, indented and with the time since the start. `go test ./cluster -run
// TestScenarios -update` writes the indented lines anew.
//
//	start PRESET PEER…     n1 starts; nobody listens at its peers yet
//	wait TIME              time passes, and what is due happens
//	pause TIME             n1 is kept from running; then what came is read, then comes the late tick
//	PEER up [KEY=VALUE…]   takes dials and answers pings. incarnation=N, digest=NODE:INCARNATION:SEQ, joining
//	PEER ready             has caught up; its pings say so
//	PEER killed            its connections close, dials are refused
//	PEER frozen            says nothing more; dials hang
//	PEER cut               the same, but only towards n1: the others reach it
//	PEER firewalled        n1's dials are refused until it is up; all else goes on
//	PEER breaks            its connections with n1 are reset
//	PEER dials             connects to n1 of itself
//	PEER talks             sends a message that does not end, and answers nothing
//	PEER says goodbye
//	PEER forbids REASON    refuses handshakes
//	PEER lags, catches up  does not apply n1's changes any more; does
//	PEER knows N           tells that it knows incarnation N of n1, above n1's own
//	PEER loses, finds PEER the way between the two is cut, is not
//	applied [NODE:INCARNATION:SEQ…]   how far n1 has applied; n1's own too
//	members                prints the members
//	show pings             records them too, from here on
//	hide dials             records them no more
type story struct {
	t        *testing.T
	cfg      Config
	core     *Core
	begun    time.Time
	now      time.Time
	frozen   bool // n1 is paused: what comes waits
	waiting  []Input
	peers    map[string]*actor
	due      []pending
	digest   memdb.Digest
	out      strings.Builder
	seen     map[string]string
	sawReach map[string]Reach
	pings    bool
	noDials  bool
}

// pending is something that happens at a time.
type pending struct {
	at time.Time
	do func()
}

// actor is a scripted peer.
type actor struct {
	name        string
	incarnation uint64
	ready       bool
	digest      memdb.Digest
	network     string // up, killed, frozen, cut
	walled      bool   // a firewall refuses n1's dials
	since       time.Time
	forbids     string
	connected   bool
	talks       bool
	lags        bool
	applied     memdb.Position
	knows       uint64
	lost        map[string]bool // whom it does not reach
}

const hop = time.Millisecond // from a question to its answer

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// runScenario returns the script with what happens recorded anew.
func runScenario(t *testing.T, script string) string {
	s := &story{t: t, peers: map[string]*actor{}, digest: memdb.Digest{}, seen: map[string]string{}, sawReach: map[string]Reach{}}
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, " \n")
		if strings.HasPrefix(line, " ") {
			continue // recorded before
		}
		s.out.WriteString(line + "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			s.command(strings.Fields(line))
			s.until(s.now) // what is due at once
		}
	}
	return s.out.String()
}

func (s *story) command(words []string) {
	switch what, args := words[0], words[1:]; what {
	case "start":
		s.start(args[0], args[1:])
	case "wait":
		s.until(s.now.Add(s.duration(args[0])))
	case "pause":
		s.pause(s.duration(args[0]))
	case "applied":
		s.apply(args)
	case "members":
		s.printMembers()
	case "show":
		s.pings = true
	case "hide":
		s.noDials = true
	default:
		p := s.peers[what]
		require.NotNil(s.t, p, "no command and no peer: %v", words)
		s.peerCommand(p, args[0], args[1:])
	}
}

func (s *story) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	require.NoError(s.t, err)
	return d
}

func (s *story) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(s.t, err)
	return n
}

func testConfig(t require.TestingT, preset string, peers ...string) Config {
	cfg, err := Preset(preset)
	require.NoError(t, err)
	cfg.Cluster, cfg.Self, cfg.Addr, cfg.Peers = "test", "n1", "n1:1", map[string]string{}
	for _, name := range peers {
		cfg.Peers[name] = name + ":1"
	}
	require.NoError(t, cfg.Validate())
	return cfg
}

func (s *story) start(preset string, peers []string) {
	s.cfg, s.begun, s.now = testConfig(s.t, preset, peers...), epoch, epoch
	s.core = NewCore(s.cfg, s.now, rand.New(rand.NewPCG(1, 2)))
	for i, name := range peers {
		s.peers[name] = &actor{name: name, incarnation: uint64(i+2) * 100, ready: true, network: "killed", since: s.now, lost: map[string]bool{}}
	}
}

func (s *story) peerCommand(p *actor, what string, args []string) {
	switch what {
	case "up":
		s.up(p, args)
	case "firewalled":
		p.network, p.walled = "up", true
	case "killed", "frozen", "cut":
		p.network, p.since = what, s.now
		if what == "killed" {
			s.breaks(p, "the peer closed the connection")
		}
	case "ready":
		p.ready = true
		s.step(Pinged{p.name, p.incarnation, true})
	case "breaks":
		s.breaks(p, "connection reset")
	case "dials":
		s.handshake(p, false)
	case "talks":
		p.talks = true
	case "says":
		s.step(Goodbye{p.name, p.incarnation})
	case "forbids":
		p.network, p.since, p.forbids = "up", s.now, strings.Join(args, " ")
	case "lags", "catches":
		p.lags, p.applied = what == "lags", s.digest["n1"]
	case "knows":
		p.knows = s.core.Incarnation() + s.number(args[0])
	case "loses", "finds":
		p.lost[args[0]], s.peers[args[0]].lost[p.name] = what == "loses", what == "loses"
	default:
		require.Fail(s.t, "unknown", "%s %s", p.name, what)
	}
}

func (s *story) up(p *actor, args []string) {
	p.network, p.walled, p.forbids, p.talks = "up", false, "", false
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "incarnation":
			p.incarnation = s.number(value)
		case "digest":
			p.digest = s.positions(strings.Split(value, ","))
		case "joining":
			p.ready = false
		default:
			require.Fail(s.t, "unknown", "up %s", arg)
		}
	}
}

func (s *story) positions(texts []string) memdb.Digest {
	d := memdb.Digest{}
	for _, text := range texts {
		parts := strings.Split(text, ":")
		require.Len(s.t, parts, 3, text)
		d[parts[0]] = memdb.Position{Incarnation: s.number(parts[1]), Seq: s.number(parts[2])}
	}
	return d
}

func (s *story) apply(texts []string) {
	s.digest = s.positions(texts)
	s.step(Applied{s.digest})
}

// after makes something happen later. What is due at the same time happens in
// the order in which it was asked for.
func (s *story) after(d time.Duration, do func()) {
	s.due = append(s.due, pending{s.now.Add(d), do})
	slices.SortStableFunc(s.due, func(a, b pending) int { return a.at.Compare(b.at) })
}

func (s *story) until(end time.Time) {
	for steps := 0; ; steps++ {
		require.Less(s.t, steps, 10_000, "time stands still at %s", s.now.Sub(s.begun))
		if s.core == nil {
			return
		}
		tick := s.nextTick()
		if s.frozen {
			tick = time.Time{}
		}
		happens := len(s.due) > 0 && !s.due[0].at.After(end)
		switch {
		case happens && (tick.IsZero() || !s.due[0].at.After(tick)):
			next := s.due[0]
			s.due = s.due[1:]
			s.now = latest(s.now, next.at)
			next.do()
		case !tick.IsZero() && !tick.After(end):
			s.now = latest(s.now, tick)
			s.tick(0)
		default:
			s.now = end
			return
		}
	}
}

// nextTick is when the shell would tick; zero for never.
func (s *story) nextTick() time.Time {
	tick := s.core.Next()
	if poll := s.now.Add(joinPoll); !s.core.Ready() && (tick.IsZero() || tick.After(poll)) {
		return poll
	}
	return tick
}

func (s *story) pause(d time.Duration) {
	asked := latest(s.nextTick(), s.now)
	s.frozen = true
	s.until(s.now.Add(d))
	s.frozen = false
	for _, in := range s.waiting {
		s.step(in)
	}
	s.waiting = nil
	s.tick(max(0, s.now.Sub(asked)))
}

// tick does what the shell does: what is there is read first.
func (s *story) tick(late time.Duration) {
	for _, name := range s.core.names {
		if p := s.peers[name]; p.connected && p.talks {
			s.step(Heard{name, s.now})
		}
	}
	s.step(Tick{late})
	require.True(s.t, s.core.Next().IsZero() || s.core.Next().After(s.now), "a tick must settle what was due")
	s.step(Applied{s.digest})
	for _, m := range s.core.Members(s.now) {
		s.noteReach(m)
	}
}

// comes brings an input, at once or when n1 runs again.
func (s *story) comes(in Input) {
	if s.frozen {
		s.waiting = append(s.waiting, in)
		return
	}
	s.step(in)
}

func (s *story) step(in Input) {
	for _, out := range s.core.Step(s.now, in) {
		_, ping := out.(Ping)
		_, dial := out.(Dial)
		if (!ping || s.pings) && (!dial || !s.noDials) {
			s.print("%s", describe(out))
		}
		s.react(out)
	}
	for _, m := range s.core.Members(s.now) {
		s.note(m)
	}
}

func (s *story) print(format string, args ...any) {
	fmt.Fprintf(&s.out, "    %8s  %s\n", strconv.FormatFloat(s.now.Sub(s.begun).Seconds(), 'f', 3, 64), fmt.Sprintf(format, args...))
}

// note prints a change of a member, n1 itself included.
func (s *story) note(m Member) {
	state, reach := string(m.State), m.Reach
	if before := s.seen[m.Name]; before != "" && before != state {
		s.print("%s: %s → %s, %s: %s", m.Name, before, state, reach, m.Why)
		s.sawReach[m.Name] = reach
	}
	s.seen[m.Name] = state
}

func (s *story) noteReach(m Member) {
	if before := s.sawReach[m.Name]; before != "" && before != m.Reach {
		s.print("%s: still %s, reach %s → %s: %s", m.Name, m.State, before, m.Reach, m.Why)
	}
	s.sawReach[m.Name] = m.Reach
}

func (s *story) printMembers() {
	for _, m := range s.core.Members(s.now) {
		s.print("%s %s %s at %s: %s", m.Name, m.State, m.Reach, m.Addr, m.Why)
	}
}

func describe(out Output) string {
	switch out := out.(type) {
	case Dial:
		return fmt.Sprintf("dial %s at %s", out.Peer, strings.Join(out.Addrs, ", then "))
	case Ping:
		return "ping " + out.Peer + strings.Repeat(", which is stalled", btoi(out.Stalled))
	case Ask:
		return fmt.Sprintf("ask %s whether they reach %s", strings.Join(out.Members, ", "), out.About)
	case Drop:
		return fmt.Sprintf("drop %s: %s", out.Peer, out.Why)
	case Forget:
		return "forget " + out.Peer
	case Emit:
		return fmt.Sprintf("%s %s, incarnation %d", out.Event.Type, out.Event.Member, out.Event.Incarnation)
	case Open:
		return "the gate opens"
	case Superseded:
		return "superseded: " + out.Why
	case Reborn:
		return "reborn"
	}
	return fmt.Sprintf("%#v", out)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// react is what the network and the peers do about an output.
func (s *story) react(out Output) {
	switch out := out.(type) {
	case Dial:
		s.dialled(s.peers[out.Peer])
	case Ping:
		s.after(hop, func() { s.answer(s.peers[out.Peer]) })
	case Ask:
		for _, name := range out.Members {
			s.ask(s.peers[name], s.peers[out.About])
		}
	case Drop:
		s.peers[out.Peer].connected = false
	case Reborn:
		for _, name := range s.core.names {
			s.breaks(s.peers[name], "n1 was reborn")
		}
	}
}

func (s *story) dialled(p *actor) {
	switch {
	case p.network == "killed", p.walled:
		s.after(hop, func() { s.comes(DialFailed{p.name, true, "connection refused"}) })
	case p.network == "frozen", p.network == "cut":
		s.after(s.cfg.HandshakeTimeout, func() { s.comes(DialFailed{p.name, false, "timed out"}) })
	case p.forbids != "":
		s.after(hop, func() { s.comes(DialFailed{p.name, false, "handshake: " + p.forbids}) })
	default:
		s.after(hop, func() { s.handshake(p, true) })
	}
}

func (s *story) handshake(p *actor, dialled bool) {
	if p.knows > 0 {
		s.step(Known{p.name, p.knows})
	}
	p.connected = true
	s.comes(Connected{p.name, dialled, Info{Incarnation: p.incarnation, Addr: p.name + ":1", Ready: p.ready, Digest: p.digest}})
}

func (s *story) breaks(p *actor, why string) {
	if p.connected {
		p.connected = false
		s.comes(Disconnected{Peer: p.name, Dialled: true, Why: why})
	}
}

func (s *story) answer(p *actor) {
	if !p.connected || p.talks || p.network != "up" {
		return
	}
	if !p.lags {
		p.applied = s.digest["n1"]
	}
	reach := map[string]int64{}
	for name, other := range s.peers {
		if at, ok := s.reached(p, other); ok {
			reach[name] = s.now.Sub(at).Microseconds()
		}
	}
	s.comes(Answered{p.name, hop, Answer{Ready: p.ready, Known: p.knows, Reach: reach, Applied: p.applied}})
}

// reached is when a peer was last answered by another, if it would say so: they
// ping each other in step with the clock.
func (s *story) reached(p, other *actor) (time.Time, bool) {
	at := s.now
	if other.network == "killed" || p == other || p.lost[other.name] {
		return at, false
	}
	if other.network == "frozen" {
		at = other.since
	}
	at = s.begun.Add(at.Sub(s.begun).Truncate(s.cfg.PingEvery))
	return at, s.now.Sub(at) < s.cfg.SuspectAfter
}

// ask is what a peer says of another when it is asked.
func (s *story) ask(p, about *actor) {
	told := Told{About: about.name, By: p.name, Verdict: Silent}
	wait := s.cfg.AskTimeout
	switch {
	case p.network == "frozen":
	case p.lost[about.name], about.network == "frozen":
		wait = s.cfg.AskTimeout * 4 / 5
	case about.network == "killed":
		told.Verdict, wait = Refused, 2*hop
	default:
		told.Verdict, wait = Reached, 2*hop
	}
	s.after(wait, func() { s.comes(told) })
}
