package replication

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/cluster/internal/alarm"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Config is what a [Core] works on.
type Config struct {
	Self string
	DB   *memdb.DB
	// Feeds are this node's own journals, for the peers: events, messages.
	Feeds map[string]*journal.Journal[json.RawMessage]
	// The hooks may be nil. They must not call the core: what they lead to is
	// said when its method has returned.

	// OnFeed gets each peer's, in its order; missed is how many before them were
	// lost.
	OnFeed func(feed, origin string, incarnation, missed uint64, entries []json.RawMessage)
	// OnApplied hears what has come from an origin.
	OnApplied func(origin string, a memdb.Applied)
	// OnAcked hears that a peer has acknowledged more, and which of this node's
	// claims it knows better ones than.
	OnAcked func(peer string, beaten []memdb.Rival)
	Log     *slog.Logger
}

// Core decides about replication. It is pure: time comes with each call, and
// what is to be said to peers is returned by [Core.Take]. It is used from one
// goroutine at a time.
type Core struct {
	cfg   Config
	feeds []string // their names, sorted
	links map[string]*link
	peers []string // those with a link, sorted

	calls  map[uint64]func(now time.Time, result any, err error)
	lastID uint64
	out    []Call
	next   alarm.Alarm // no later than anything is due; zero: nothing is

	staged map[string]*staging   // snapshots that peers push, by peer
	given  map[[2]string][]Chunk // snapshots that peers pull, one each, by peer and origin
	heard  map[[2]string]hearing // how far peers' feeds were heard, by feed and origin
	passed map[string]uint64     // origins that are not pulled: they stayed dead for too long in this incarnation
}

// Call is something to ask a peer. It is answered by [Core.Answered].
type Call struct {
	ID     uint64
	Peer   string
	Method string
	Params any
}

// NewCore returns the core of a node that has no links yet.
func NewCore(cfg Config) *Core {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.OnFeed == nil {
		cfg.OnFeed = func(string, string, uint64, uint64, []json.RawMessage) {}
	}
	if cfg.OnApplied == nil {
		cfg.OnApplied = func(string, memdb.Applied) {}
	}
	if cfg.OnAcked == nil {
		cfg.OnAcked = func(string, []memdb.Rival) {}
	}
	return &Core{
		cfg: cfg, feeds: slices.Sorted(maps.Keys(cfg.Feeds)), links: map[string]*link{},
		calls:  map[uint64]func(time.Time, any, error){},
		staged: map[string]*staging{}, given: map[[2]string][]Chunk{}, heard: map[[2]string]hearing{}, passed: map[string]uint64{},
	}
}

// Up says that a peer, in this incarnation, can be called, and what it knows; nil
// if that is not known. Calls under way by an earlier link count no more.
func (c *Core) Up(now time.Time, node string, incarnation uint64, digest memdb.Digest) {
	c.Down(node)
	delete(c.passed, node)
	l := &link{c: c, node: node, incarnation: incarnation, wanted: digest, feeds: make([]feedLane, len(c.feeds))}
	for i, name := range c.feeds {
		l.feeds[i] = feedLane{name: name, after: c.cfg.Feeds[name].Last()}
	}
	if l.known = digest != nil; l.known {
		l.begin(digest[c.cfg.Self])
	}
	c.links[node] = l
	c.relist()
	l.pump(now)
}

// Reroute says that a peer is called another way now: what is under way may
// never be answered, and is said again.
func (c *Core) Reroute(now time.Time, node string) {
	l := c.links[node]
	if l == nil {
		return
	}
	for _, ln := range l.lanes() {
		delete(c.calls, ln.busy)
		ln.busy, ln.notBefore = 0, time.Time{}
	}
	l.sending = nil
	l.stopPulling()
	l.pump(now)
}

// Down says that a peer can no longer be called. What it has begun to push or to
// pull is given up, also if it has only called and never been called.
func (c *Core) Down(node string) {
	delete(c.staged, node)
	c.giveUp(node)
	l := c.links[node]
	if l == nil {
		return
	}
	for _, ln := range l.lanes() {
		delete(c.calls, ln.busy)
	}
	delete(c.links, node)
	c.relist()
}

// giveUp forgets what a peer was pulling.
func (c *Core) giveUp(node string) {
	for key := range c.given {
		if key[0] == node {
			delete(c.given, key)
		}
	}
}

func (c *Core) relist() { c.peers = slices.Sorted(maps.Keys(c.links)) }

// Linked tells in which incarnation a peer can be called; 0 if it cannot.
func (c *Core) Linked(node string) uint64 {
	if l := c.links[node]; l != nil {
		return l.incarnation
	}
	return 0
}

// Saw takes what a peer says it knows. A snapshot of that is not kept for it any
// longer: it has come to it another way.
func (c *Core) Saw(now time.Time, node string, digest memdb.Digest) {
	for key, list := range c.given {
		if key[0] == node && digest[key[1]].Covers(list[0].Position) {
			delete(c.given, key)
		}
	}
	l := c.links[node]
	if l == nil {
		return
	}
	// What was behind at the last look too is not on its way: ask for it.
	missing := l.seen
	l.seen = digest
	if missing != nil && l.wanted == nil && len(l.lacking(missing)) > 0 {
		l.wanted = digest
		l.pump(now)
	}
}

// Pass says that an origin has stayed dead for so long that its names were
// forgotten: it is not pulled until it is back.
func (c *Core) Pass(origin string, incarnation uint64) { c.passed[origin] = incarnation }

// Changed says that this node has written, or confirmed, something.
func (c *Core) Changed(now time.Time) {
	for _, node := range c.peers {
		c.links[node].pump(now)
	}
}

// Tick does what is due by time.
func (c *Core) Tick(now time.Time) {
	if !c.next.Rings(now) {
		return
	}
	for _, node := range c.peers {
		l := c.links[node]
		l.pump(now)
		for _, ln := range l.lanes() {
			c.next.AskAfter(now, ln.notBefore)
		}
		c.next.AskAfter(now, l.tellAt)
	}
}

// Next returns when a Tick is wanted; zero if none is.
func (c *Core) Next() time.Time { return c.next.At() }

// Take returns what is to be asked of peers, in order. Calls that count no more,
// since the link they were for is gone, are left out.
func (c *Core) Take() []Call {
	out := slices.DeleteFunc(c.out, func(call Call) bool { return c.calls[call.ID] == nil })
	c.out = nil
	return out
}

// Answered takes an answer to a call.
func (c *Core) Answered(now time.Time, id uint64, result any, err error) {
	if answered := c.calls[id]; answered != nil {
		delete(c.calls, id)
		answered(now, result, err)
	}
}

func (c *Core) call(peer, method string, params any, answered func(now time.Time, result any, err error)) uint64 {
	c.lastID++
	c.calls[c.lastID] = answered
	c.out = append(c.out, Call{c.lastID, peer, method, params})
	return c.lastID
}

// Acked returns how far a peer has acknowledged this node's changes.
func (c *Core) Acked(node string) uint64 {
	if l := c.links[node]; l != nil && l.of == c.incarnation() {
		return l.acked
	}
	return 0
}

// incarnation is this node's own, as the state has it.
func (c *Core) incarnation() uint64 { return c.cfg.DB.Position(c.cfg.Self).Incarnation }

// unexpected is the error for an answer of the wrong type: the peer is of
// another version.
func unexpected(node string) error {
	return errs.New(errs.BadParameter, "node %s gave an answer that cannot be read; the nodes may be of different versions", node)
}

// Busy says what is under way; "" if nothing is.
func (c *Core) Busy() string {
	for _, node := range c.peers {
		for _, ln := range c.links[node].lanes() {
			if ln.busy != 0 {
				return fmt.Sprintf("%s to %s", ln.what, node)
			}
		}
	}
	return ""
}
