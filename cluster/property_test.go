package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/memdb"
)

// watcher checks everything a core does, whatever is done to it.
type watcher struct {
	t      require.TestingT
	core   *Core
	told   map[string]Event // the newest event of each member
	states map[string]State
	self   uint64
	opened int
	ended  int
}

func watch(t require.TestingT, core *Core) *watcher {
	return &watcher{t: t, core: core, told: map[string]Event{}, states: map[string]State{}, self: core.Incarnation()}
}

// step gives the core an input and checks what comes of it.
func (w *watcher) step(now time.Time, in Input) []Output {
	out := w.core.Step(now, in)
	for _, o := range out {
		switch o := o.(type) {
		case Emit:
			w.event(o.Event)
		case Open:
			w.opened++
		case Superseded:
			w.ended++
		}
	}
	w.must(w.opened <= 1 && w.core.Ready() == (w.opened == 1), "the gate opens once")
	w.must(w.ended <= 1, "superseded is told once")
	w.must(w.core.Incarnation() >= w.self, "one's own incarnation only grows")
	w.self = w.core.Incarnation()
	for _, m := range w.core.Members(now) {
		w.member(m)
	}
	if _, tick := in.(Tick); tick {
		w.settled(now)
	}
	return out
}

// must is require without its price: it is asked a million times.
func (w *watcher) must(ok bool, format string, args ...any) {
	if !ok {
		require.Fail(w.t, fmt.Sprintf(format, args...))
	}
}

// follows lists which event may come after which; "" is none yet.
var follows = map[EventType][]EventType{
	"":              {MemberJoined, MemberLeft},
	MemberJoined:    {MemberSuspected, MemberFailed, MemberLeft},
	MemberSuspected: {MemberRecovered, MemberFailed, MemberLeft},
	MemberRecovered: {MemberSuspected, MemberFailed, MemberLeft},
	MemberFailed:    {MemberRecovered, MemberJoined, MemberLeft},
	MemberLeft:      {MemberJoined, MemberLeft}, // twice if an incarnation between them never joined
}

func (w *watcher) event(e Event) {
	before := w.told[e.Member]
	w.must(slices.Contains(follows[before.Type], e.Type), "%s after %s of %s: %s", e.Type, before.Type, e.Member, e.Why)
	w.must(e.Why != "", "%s of %s says no reason", e.Type, e.Member)
	w.must(e.Incarnation >= before.Incarnation, "%s is of an incarnation that is over", e.Type)
	switch reborn := e.Incarnation > before.Incarnation; {
	case before.Type == MemberFailed && e.Type == MemberRecovered, e.Type == MemberSuspected:
		w.must(!reborn, "%s: another incarnation has to join first", e.Type)
	case before.Type != "" && e.Type == MemberJoined:
		w.must(reborn, "%s joined twice in one incarnation", e.Member)
	}
	w.told[e.Member] = e
}

// member checks that what is said of a member is said with a reason and agrees
// with what was told.
func (w *watcher) member(m Member) {
	w.must(m.Why != "", "%s is %s for no reason", m.Name, m.State)
	if m.Self {
		return
	}
	before, newest := w.states[m.Name], w.told[m.Name].Type
	w.states[m.Name] = m.State
	w.must(m.State != Unknown || before == "" || before == Unknown, "%s was %s and is unknown again", m.Name, before)
	lives := newest == MemberJoined || newest == MemberRecovered
	switch m.State {
	case Alive:
		w.must(lives, "%s is alive, but the newest told is %s", m.Name, newest)
	case Suspect, Dead:
		w.must(!lives, "%s is %s, but the newest told is %s", m.Name, m.State, newest)
	case Left:
		w.must(newest == MemberLeft, "%s has left, but the newest told is %s", m.Name, newest)
	}
	helper, indirect := m.Reach.Via()
	w.must(!indirect || helper != m.Name && w.core.peers[helper] != nil, "%s is reached %s", m.Name, m.Reach)
}

// settled checks that a tick leaves nothing overdue, and that whoever is not
// connected by us is dialled before long.
func (w *watcher) settled(now time.Time) {
	next := w.core.Next()
	w.must(next.IsZero() || next.After(now), "a tick must settle what was due")
	for name, p := range w.core.peers {
		dialledSoon := !p.nextDial.IsZero() && p.nextDial.Sub(now) <= max(w.core.cfg.RedialMax, w.core.cfg.SecondRefusal)
		w.must(p.dialled || p.dialling || dialledSoon, "%s is not dialled any more", name)
		w.must(!p.stalled || p.state == Suspect, "%s is stalled and %s", name, p.state)
	}
}

// someConfig is a configuration that is valid, reasonable or not.
func someConfig(t *rapid.T) Config {
	cfg := testConfig(t, rapid.SampledFrom([]string{"local", "lan", "wan"}).Draw(t, "preset"), "n2", "n3", "n4")
	if rapid.Bool().Draw(t, "odd times") {
		ms := func(name string, low int) time.Duration {
			return time.Duration(rapid.IntRange(low, low+999).Draw(t, name)) * time.Millisecond
		}
		cfg.PingEvery = ms("ping", 1)
		cfg.SuspectAfter = cfg.PingEvery + ms("suspect", 1)
		cfg.DeadAfter = cfg.SuspectAfter + ms("dead", 1)
		cfg.StallAfter = ms("stall", 1)
		cfg.AskTimeout = ms("ask", 1)
		cfg.RedialMax = cfg.RedialMin + ms("redial", 0)
	}
	require.NoError(t, cfg.Validate())
	return cfg
}

func someDigest(t *rapid.T) memdb.Digest {
	d := memdb.Digest{}
	for range rapid.IntRange(0, 3).Draw(t, "origins") {
		origin := rapid.SampledFrom([]string{"n1", "n2", "n3", "n4"}).Draw(t, "origin")
		d[origin] = memdb.Position{Incarnation: rapid.Uint64Range(0, 3).Draw(t, "of"), Seq: rapid.Uint64Range(0, 5).Draw(t, "seq")}
	}
	return d
}

// someInput is anything that could be said to a core, also what no shell would.
func someInput(t *rapid.T, core *Core) Input {
	peer := rapid.SampledFrom([]string{"n2", "n2", "n3", "n4", "n1", "n9", ""}).Draw(t, "peer")
	yes := func(what string) bool { return rapid.Bool().Draw(t, what) }
	incarnation := rapid.Uint64Range(0, 4).Draw(t, "incarnation")
	switch rapid.IntRange(0, 13).Draw(t, "input") {
	case 12, 13:
		return Disconnected{Peer: peer, Dialled: true, Why: "lost"}
	case 0, 1:
		return Connected{peer, yes("dialled"), Info{Incarnation: incarnation, Addr: peer + ":1", Ready: yes("ready"), Digest: someDigest(t)}}
	case 2:
		return Disconnected{Peer: peer, Dialled: yes("dialled"), Rest: yes("rest"), Why: "lost"}
	case 3:
		return DialFailed{Peer: peer, Refused: yes("refused"), Why: "failed"}
	case 4, 5:
		reach := map[string]int64{}
		for _, name := range []string{"n2", "n3", "n4", "n9"} {
			if yes(name) {
				reach[name] = rapid.Int64().Draw(t, "ago")
			}
		}
		known := rapid.SampledFrom([]uint64{0, 0, 0, core.Incarnation() + 1}).Draw(t, "known")
		return Answered{peer, time.Duration(rapid.IntRange(0, 3000).Draw(t, "rtt")) * time.Millisecond,
			Answer{Ready: yes("ready"), Known: known, Reach: reach, Applied: someDigest(t)["n1"]}}
	case 6:
		return Pinged{peer, incarnation, yes("ready")}
	case 7:
		return Heard{peer, epoch.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "at")) * time.Millisecond)}
	case 8:
		by := rapid.SampledFrom([]string{"n2", "n3", "n4", "n9"}).Draw(t, "by")
		return Told{peer, by, rapid.SampledFrom([]Verdict{Reached, Refused, Silent, "?"}).Draw(t, "verdict")}
	case 9:
		return Goodbye{peer, incarnation}
	case 10:
		return Known{peer, rapid.SampledFrom([]uint64{1, core.Incarnation(), core.Incarnation() + 5000}).Draw(t, "known")}
	default:
		return Applied{someDigest(t)}
	}
}

// someAnswer is one of what could come of an output; nil if nothing does.
func someAnswer(t *rapid.T, core *Core, out Output) Input {
	switch out := out.(type) {
	case Dial:
		if rapid.Bool().Draw(t, "refused") {
			return DialFailed{out.Peer, true, "refused"}
		}
		return Connected{out.Peer, true, Info{Incarnation: max(1, core.Highest(out.Peer)), Addr: "x:1", Ready: rapid.Bool().Draw(t, "ready")}}
	case Ping:
		reach := map[string]int64{}
		for _, name := range rapid.SampledFrom([][]string{nil, {"n2"}, {"n2", "n3", "n4"}}).Draw(t, "reach") {
			reach[name] = int64(rapid.IntRange(0, 2_000_000).Draw(t, "ago"))
		}
		return Answered{out.Peer, time.Millisecond, Answer{Ready: true, Reach: reach, Applied: core.ours}}
	case Ask:
		return Told{out.About, out.Members[0], rapid.SampledFrom([]Verdict{Reached, Refused, Silent}).Draw(t, "verdict")}
	case Drop:
		return Disconnected{Peer: out.Peer, Why: "dropped"}
	}
	return nil
}

// TestAnything: whatever is said to a core and however time passes, what it does
// makes sense, and is the same each time.
func TestAnything(t *testing.T) {
	for range 10 { // it is cheap, and the odd corners are far apart
		rapid.Check(t, anything)
	}
}

func anything(t *rapid.T) {
	cfg, seed := someConfig(t), rapid.Uint64().Draw(t, "seed")
	w := watch(t, NewCore(cfg, epoch, rand.New(rand.NewPCG(seed, 0))))
	twin := NewCore(cfg, epoch, rand.New(rand.NewPCG(seed, 0)))
	now := epoch
	var open []Output // what nobody has answered yet
	step := func(in Input) {
		out := w.step(now, in)
		require.Equal(t, twin.Step(now, in), out, "equal cores do the same")
		open = append(open, out...)
	}
	for _, name := range rapid.SampledFrom([][]string{nil, {"n2", "n3"}, {"n2", "n3", "n4"}}).Draw(t, "there from the start") {
		step(Connected{name, true, Info{Incarnation: 1, Addr: name + ":1", Ready: true}})
	}
	for range rapid.IntRange(30, 90).Draw(t, "steps") {
		switch what := rapid.IntRange(0, 5).Draw(t, "what"); {
		case what == 0:
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "passes")) * time.Millisecond)
			step(Tick{time.Duration(rapid.IntRange(0, 3000).Draw(t, "late")) * time.Millisecond})
		case what == 1 && !w.core.Next().IsZero():
			now = latest(now, w.core.Next())
			step(Tick{})
		case what < 5 && len(open) > 0:
			i := rapid.IntRange(0, len(open)-1).Draw(t, "answered")
			out := open[i]
			open = slices.Delete(open, i, i+1)
			if in := someAnswer(t, w.core, out); in != nil {
				step(in)
			}
		default:
			step(someInput(t, w.core))
		}
	}
	step(Tick{})
}

// clockwork drives one core in time with what is planned.
type clockwork struct {
	*watcher
	now  time.Time
	due  []pending
	hear func(Output)
}

func (c *clockwork) after(d time.Duration, do func()) {
	c.due = append(c.due, pending{c.now.Add(d), do})
	slices.SortStableFunc(c.due, func(a, b pending) int { return a.at.Compare(b.at) })
}

func (c *clockwork) give(in Input) {
	for _, out := range c.step(c.now, in) {
		c.hear(out)
	}
}

func (c *clockwork) until(end time.Time) {
	for {
		tick := c.core.Next()
		planned := len(c.due) > 0 && !c.due[0].at.After(end)
		switch {
		case planned && !c.due[0].at.After(tick):
			next := c.due[0]
			c.due = c.due[1:]
			c.now = latest(c.now, next.at)
			next.do()
		case !tick.After(end):
			c.now = latest(c.now, tick)
			c.give(Tick{})
		default:
			c.now = end
			return
		}
	}
}

// pause keeps the core from running. What comes meanwhile comes at its end.
func (c *clockwork) pause(d time.Duration) {
	asked := latest(c.core.Next(), c.now)
	c.now = c.now.Add(d)
	for len(c.due) > 0 && !c.due[0].at.After(c.now) {
		next := c.due[0]
		c.due = c.due[1:]
		next.do()
	}
	c.give(Tick{max(0, c.now.Sub(asked))})
}

// TestWhoAnswersIsNeverSuspected, whatever the others do, however late our own
// ticks are, and although answers take as long as they may: two of them are
// never further apart than SuspectAfter.
func TestWhoAnswersIsNeverSuspected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig(t, rapid.SampledFrom([]string{"local", "lan", "wan"}).Draw(t, "preset"), "n2", "n3", "n4")
		c := &clockwork{watcher: watch(t, NewCore(cfg, epoch, rand.New(rand.NewPCG(1, 2)))), now: epoch}
		slowest := int((cfg.SuspectAfter - cfg.PingEvery).Microseconds()) - 1
		c.hear = func(out Output) {
			if e, ok := out.(Emit); ok && e.Event.Member == "n2" {
				require.Equal(t, MemberJoined, e.Event.Type, e.Event.Why)
			}
			if p, ok := out.(Ping); ok && p.Peer == "n2" {
				rtt := time.Duration(rapid.IntRange(0, slowest).Draw(t, "rtt")) * time.Microsecond
				c.after(rtt, func() { c.give(Answered{"n2", rtt, Answer{Ready: true}}) })
			}
		}
		c.give(Connected{"n2", true, Info{Incarnation: 5, Addr: "n2:1", Ready: true}})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			c.until(c.now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "passes")) * time.Millisecond))
			switch in := someInput(t, c.core).(type) {
			case Connected, Disconnected, Goodbye, Answered, Applied, Known: // of n2 only its answers
			default:
				c.give(in)
			}
			if rapid.IntRange(0, 3).Draw(t, "pause?") == 0 {
				c.pause(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "pause")) * time.Millisecond)
			}
		}
	})
}

// TestWhoFallsSilentIsDead DeadAfter after its last answer to anybody, however
// often the others repeat that, and at most twice as long if it goes on talking.
func TestWhoFallsSilentIsDead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := someConfig(t)
		cfg.StallAfter = time.Hour
		c := &clockwork{watcher: watch(t, NewCore(cfg, epoch, rand.New(rand.NewPCG(1, 2)))), now: epoch}
		talks := rapid.Bool().Draw(t, "talks")
		silent := epoch.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "silent from")) * time.Millisecond)
		answered := map[string]time.Time{} // when n2 answered whom
		var died time.Time
		c.hear = func(out Output) {
			switch out := out.(type) {
			case Emit:
				if out.Event.Member == "n2" && out.Event.Type == MemberFailed {
					died = c.now
				}
			case Ping:
				reach := map[string]int64{}
				if last := answered[out.Peer]; c.now.Sub(last) < cfg.SuspectAfter {
					reach["n2"] = c.now.Sub(last).Microseconds()
				}
				if out.Peer != "n2" {
					c.after(0, func() { c.give(Answered{out.Peer, 0, Answer{Ready: true, Reach: reach}}) })
				} else if c.now.Before(silent) {
					answered["n1"] = c.now
					c.after(0, func() { c.give(Answered{"n2", 0, Answer{Ready: true}}) })
				}
			}
		}
		for _, name := range []string{"n2", "n3", "n4"} {
			c.give(Connected{name, true, Info{Incarnation: 5, Addr: name + ":1", Ready: true}})
			answered[name] = epoch
		}
		answered["n1"] = epoch
		for c.now.Before(silent.Add(3*cfg.DeadAfter)) && died.IsZero() {
			if c.now.Before(silent) {
				answered[rapid.SampledFrom([]string{"n3", "n4"}).Draw(t, "to")] = c.now
			} else if talks {
				c.give(Heard{"n2", c.now})
			}
			c.until(c.now.Add(cfg.PingEvery / 3))
		}
		last := latest(answered["n1"], latest(answered["n3"], answered["n4"]))
		took := died.Sub(last)
		require.False(t, died.IsZero(), "it is dead")
		if talks {
			require.LessOrEqual(t, took, 2*cfg.DeadAfter+time.Microsecond) // the unit of what others tell
			return
		}
		require.InDelta(t, cfg.DeadAfter, took, float64(cfg.PingEvery/2+time.Microsecond), "not dead DeadAfter after its last answer, but after %s", took)
	})
}
