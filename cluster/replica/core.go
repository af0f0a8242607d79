package replica

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/internal/alarm"
	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/cluster/replication"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/memdb"
)

// ForgetAfter is how long the names of a dead node are kept, hidden, should it
// come back.
const ForgetAfter = 10 * time.Minute

// Config is what a [Core] works on.
type Config struct {
	Self string
	DB   *memdb.DB
	// DeadAfter is how long a member that is suspected, and not judged, is
	// waited for.
	DeadAfter time.Duration
	// Feeds are this node's own journals, for the peers, and OnFeed gets theirs.
	Feeds  map[string]*journal.Journal[json.RawMessage]
	OnFeed func(feed, origin string, incarnation, missed uint64, entries []json.RawMessage)
	// OnDecree hears of decrees in what came from another origin: their uids, and
	// that origin's copies. Like the other hooks it must not wait, nor call back.
	OnDecree func(uids []string, copies []memdb.Destroyed)
	// OnName hears what happens to this node's names; it may append to a feed.
	OnName func(registry.Event)
	Log    *slog.Logger
}

// Core is a node's state, its replication and its names, as one pure machine:
// time comes with each call, and what is to be asked of peers and answered to
// callers is returned by [Core.Take]. It is used from one goroutine at a time.
type Core struct {
	cfg      Config
	now      time.Time // of the call under way
	repl     *replication.Core
	names    *registry.Core
	members  map[string]cluster.Member
	relayed  map[string]bool // links that exist only through another node
	forgot   map[string]uint64
	awaited  []string
	reassess alarm.Alarm // when who is awaited may change by time alone
	grew     bool        // something is to be replicated
	together bool        // what follows waits for the end of Together

	calls []Call
	done  []registry.Done
}

// Call is something to ask a peer; it is answered by [Core.Answered].
type Call struct {
	Peer   string
	Method string
	Params any
	id     uint64
}

// NewCore returns the core of a node that knows nobody yet.
func NewCore(cfg Config) *Core {
	if cfg.OnName == nil {
		cfg.OnName = func(registry.Event) {}
	}
	if cfg.OnDecree == nil {
		cfg.OnDecree = func([]string, []memdb.Destroyed) {}
	}
	if cfg.OnFeed == nil {
		cfg.OnFeed = func(string, string, uint64, uint64, []json.RawMessage) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Core{cfg: cfg, members: map[string]cluster.Member{}, relayed: map[string]bool{}, forgot: map[string]uint64{}}
	c.repl = replication.NewCore(replication.Config{
		Self: cfg.Self, DB: cfg.DB, Feeds: cfg.Feeds, OnFeed: cfg.OnFeed, Log: cfg.Log,
		OnApplied: func(origin string, a memdb.Applied) {
			if len(a.Decrees) > 0 {
				cfg.OnDecree(a.Decrees, a.Destroyed)
			}
			c.names.Applied(c.now, origin, a)
		},
		OnAcked: func(peer string, beaten []memdb.Rival) { c.names.Acked(c.now, peer, beaten) },
	})
	c.names = registry.NewCore(registry.Config{Self: cfg.Self, DB: cfg.DB, Acked: c.repl.Acked, Log: cfg.Log})
	return c
}

// Together runs f, which may call several methods: what follows from all of them
// is done once, as if it were one.
func (c *Core) Together(now time.Time, f func()) {
	c.do(now, func() {
		c.together = true
		defer func() { c.together = false }()
		f()
	})
}

// do does one thing, and whatever follows from it.
func (c *Core) do(now time.Time, f func()) {
	c.now = now
	if f(); c.together {
		return
	}
	for {
		out := c.names.Take()
		for _, e := range out.Events {
			c.cfg.OnName(e)
		}
		for _, call := range out.Calls {
			c.calls = append(c.calls, Call{call.Peer, registry.AskMethod, &call.Ask, call.ID})
		}
		c.done = append(c.done, out.Done...)
		if !out.Wrote && len(out.Events) == 0 && !c.grew {
			break
		}
		c.grew = false
		c.repl.Changed(now)
		c.names.Acked(now, "", nil) // alone, what is written is acknowledged
	}
	for _, call := range c.repl.Take() {
		c.calls = append(c.calls, Call{call.Peer, call.Method, call.Params, call.ID})
	}
}

// Take returns what is to be asked of peers, and the requests that have ended.
func (c *Core) Take() (calls []Call, done []registry.Done) {
	calls, done = c.calls, c.done
	c.calls, c.done = nil, nil
	return calls, done
}

// Up says that a peer has been connected, and what it said of itself. Its rows
// are shown once what it said has been applied: nobody sees its past. What an
// earlier incarnation owned is gone.
func (c *Core) Up(now time.Time, peer string, info cluster.Info) {
	c.do(now, func() {
		delete(c.relayed, peer)
		delete(c.forgot, peer)
		c.must("drop its earlier rows", c.cfg.DB.Drop(peer, info.Incarnation))
		c.must("show its rows", c.cfg.DB.Show(peer, info.Digest[peer]))
		digest := info.Digest
		if digest == nil {
			digest = memdb.Digest{}
		}
		c.repl.Up(now, peer, info.Incarnation, digest)
		c.names.Recheck(now)
	})
}

// Down says that a peer is not connected any more. If others reach it, it goes on
// through them.
func (c *Core) Down(now time.Time, peer string) {
	c.do(now, func() {
		c.repl.Down(peer)
		c.route(now, c.members[peer])
		c.names.Acked(now, peer, nil)
	})
}

// Saw takes what a peer says it has applied.
func (c *Core) Saw(now time.Time, peer string, digest memdb.Digest) {
	c.do(now, func() { c.repl.Saw(now, peer, digest) })
}

// Told takes an event of the membership: what the dead said is hidden, what
// those said that left is dropped.
func (c *Core) Told(now time.Time, e cluster.Event) {
	switch e.Type {
	case cluster.MemberFailed:
		c.do(now, func() {
			c.must("hide its rows", c.cfg.DB.Hide(e.Member))
			c.names.Recheck(now)
		})
	case cluster.MemberLeft:
		c.do(now, func() {
			c.must("drop its rows", c.cfg.DB.Drop(e.Member, e.Incarnation+1))
			c.names.Recheck(now)
		})
	}
}

// Members says how this node sees the others.
func (c *Core) Members(now time.Time, members []cluster.Member) {
	c.do(now, func() {
		for _, m := range members {
			if !m.Self {
				c.route(now, m)
				c.members[m.Name] = m
			}
		}
		c.assess(now)
	})
}

// route keeps replicating with a member that only another one reaches.
func (c *Core) route(now time.Time, m cluster.Member) {
	_, via := m.Reach.Via()
	_, before := c.members[m.Name].Reach.Via()
	linked := c.repl.Linked(m.Name) == m.Incarnation
	switch {
	case via && !linked:
		c.relayed[m.Name] = true
		c.repl.Up(now, m.Name, m.Incarnation, nil)
	case !via && c.relayed[m.Name] && m.Reach != cluster.ReachDirect:
		delete(c.relayed, m.Name)
		c.repl.Down(m.Name)
	case via != before && linked:
		c.repl.Reroute(now, m.Name)
	}
}

// assess finds who takes part in decisions: those that are alive, and those that
// are suspected and will be judged soon. The names of those that are dead for too
// long are forgotten.
func (c *Core) assess(now time.Time) {
	c.reassess = alarm.Alarm{}
	c.awaited = c.awaited[:0]
	for _, m := range c.members {
		soon := m.Since.Add(c.cfg.DeadAfter)
		awaited := m.State == cluster.Alive || m.State == cluster.Suspect && now.Before(soon)
		switch {
		case m.State == cluster.Suspect && awaited:
			c.reassess.Ask(soon)
		case m.State == cluster.Dead && c.forgot[m.Name] < m.Incarnation:
			if at := m.Since.Add(ForgetAfter); now.Before(at) {
				c.reassess.Ask(at)
				break
			}
			c.forgot[m.Name] = m.Incarnation
			c.repl.Pass(m.Name, m.Incarnation)
			c.must("forget its names", c.cfg.DB.ForgetNames(m.Name))
		}
		if awaited {
			c.awaited = append(c.awaited, m.Name)
		}
	}
	c.names.Members(now, c.awaited)
}

// SetIncarnation comes before anything is said in it.
func (c *Core) SetIncarnation(incarnation uint64) {
	c.must("take the incarnation", c.cfg.DB.SetIncarnation(incarnation))
}

// Update changes this node's own rows and sends the changes to all.
func (c *Core) Update(now time.Time, f func(tx *memdb.Tx) error) (position memdb.Position, err error) {
	c.do(now, func() {
		position, err = c.cfg.DB.Update(f)
		c.grew = true
	})
	return position, err
}

// Ended gives up the names of a process that has ended.
func (c *Core) Ended(now time.Time, pid, why string) {
	c.do(now, func() { c.names.Ended(now, pid, why) })
}

// Grew says that a feed has.
func (c *Core) Grew(now time.Time) {
	c.do(now, func() { c.grew = true })
}

// Register, Unregister and Lookup begin a request; [Core.Take] returns its end.
func (c *Core) Register(now time.Time, r registry.Register) {
	c.do(now, func() { c.names.Register(now, r) })
}

// Unregister begins a request, as Register does.
func (c *Core) Unregister(now time.Time, u registry.Unregister) {
	c.do(now, func() { c.names.Unregister(now, u) })
}

// Lookup begins a request, as Register does.
func (c *Core) Lookup(now time.Time, l registry.Lookup) {
	c.do(now, func() { c.names.Lookup(now, l) })
}

// Await begins a request that ends when all have acknowledged this node's
// changes up to seq.
func (c *Core) Await(now time.Time, id, seq uint64) {
	c.do(now, func() { c.names.Await(now, id, seq) })
}

// Missing names those that take part and have not acknowledged up to seq.
func (c *Core) Missing(seq uint64) (names []string) {
	for _, node := range c.awaited {
		if c.repl.Acked(node) < seq {
			names = append(names, node)
		}
	}
	return names
}

// Acked returns how far a peer has acknowledged this node's changes.
func (c *Core) Acked(node string) uint64 { return c.repl.Acked(node) }

// Params returns what the parameters of a method are to be decoded into; nil
// for a method that is none of this package's.
func Params(method string) any {
	if method == registry.AskMethod {
		return &registry.Ask{}
	}
	return replication.Params(method)
}

// Result returns what the result of a call is to be decoded into.
func Result(method string) any {
	if method == registry.AskMethod {
		return &registry.Answer{}
	}
	return replication.Result(method)
}

// Handle answers a peer.
func (c *Core) Handle(now time.Time, from string, params any) (result any, err error) {
	c.do(now, func() {
		if ask, ok := params.(*registry.Ask); ok {
			result, err = c.names.Handle(from, ask)
			return
		}
		result, err = c.repl.Handle(from, params)
	})
	if err != nil {
		return nil, errs.From(err)
	}
	return result, nil
}

// Answered takes the answer to a call.
func (c *Core) Answered(now time.Time, call Call, result any, err error) {
	c.do(now, func() {
		if call.Method == registry.AskMethod {
			answer, _ := result.(*registry.Answer)
			c.names.Answered(now, call.id, answer, err)
			return
		}
		c.repl.Answered(now, call.id, result, err)
	})
}

// Tick does what is due by time.
func (c *Core) Tick(now time.Time) {
	c.do(now, func() {
		if c.reassess.Rings(now) {
			c.assess(now)
		}
		c.repl.Tick(now)
		c.names.Tick(now)
	})
}

// Next returns when a Tick is wanted; zero if none is.
func (c *Core) Next() time.Time {
	next := c.reassess
	next.Ask(c.repl.Next())
	next.Ask(c.names.Next())
	return next.At()
}

// must logs a change of the state that failed, which only a fault of ours can
// make it.
func (c *Core) must(what string, err error) {
	if err != nil {
		c.cfg.Log.Error("the state was not changed", "what", what, "err", err)
	}
}

// Ordered reports whether a method must be handled in the order in which it
// came from a peer: those that bring something to apply.
func Ordered(method string) bool { return replication.Ordered(method) }

// Busy says what is under way; "" if nothing is.
func (c *Core) Busy() string {
	if what := c.names.Busy(); what != "" {
		return what
	}
	return c.repl.Busy()
}
