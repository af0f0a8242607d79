package replication

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/memdb"
)

// events is the name of the one feed.
const events = "events"

// world is a few cores with real state and events, in virtual time. What they
// say is delivered one by one, in the order of a link; what was said on an earlier
// link may come at any time.
type world struct {
	t       require.TestingT
	now     time.Time
	delay   time.Duration // of a message one way
	timeout time.Duration // until the caller knows that it is lost
	json    bool          // all messages travel as JSON

	nodes map[string]*node
	names []string
	ways  map[[2]string]*way // the present links, by from and to
	queue queue
	steps int

	// fate decides about each message; nil: all arrive after delay.
	fate func(w *way, m Call) fate

	// stranger answers for a node that is none of this world's.
	stranger func(n *node, call Call)

	said []said
}

// fate is what becomes of a message.
type fate struct {
	delay, back      time.Duration
	lost, unanswered bool
	again            time.Duration // it comes a second time after this, by another link; 0: it does not
}

// said is a message that was given to a link.
type said struct {
	at       time.Time
	from, to string
	method   string
	params   any
}

// way is one direction of one link.
type way struct {
	from, to string
	peer     *node // in this life
	cut      bool
	last     time.Time       // nothing arrives before this
	flying   map[string]bool // the lanes with a message under way
}

type node struct {
	*Core
	w           *world
	name        string
	incarnation uint64
	db          *memdb.DB
	events      *event.Log
	log         bytes.Buffer
	dead        bool
	beaten      []string           // who says so, the name and whose claim is better
	applied     []memdb.Applied    // in order
	heardTo     map[string]hearing // of the peers' events, with what was missed
	missed      map[string]uint64
}

// event of the world.
type due struct {
	at time.Time
	id int
	do func()
}

type queue []due

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return cmp.Or(q[i].at.Compare(q[j].at), q[i].id-q[j].id) < 0 }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(due)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// newWorld has n nodes that are not linked.
func newWorld(t require.TestingT, n int) *world {
	w := &world{
		t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), delay: time.Millisecond, timeout: 50 * time.Millisecond,
		nodes: map[string]*node{}, ways: map[[2]string]*way{},
	}
	for i := range n {
		w.start(fmt.Sprintf("n%d", i+1), 1)
	}
	return w
}

// start starts a node with nothing in its memory.
func (w *world) start(name string, incarnation uint64) *node {
	db, err := memdb.Open(name)
	require.NoError(w.t, err)
	require.NoError(w.t, db.SetIncarnation(incarnation))
	n := &node{w: w, name: name, incarnation: incarnation, db: db, heardTo: map[string]hearing{}, missed: map[string]uint64{}}
	n.events = event.NewLog(name, incarnation, 10_000, func() time.Time { return w.now }, slog.New(slog.DiscardHandler))
	n.Core = NewCore(Config{
		Self: name, DB: db, Log: slog.New(slog.NewTextHandler(&n.log, nil)),
		Feeds:     map[string]*journal.Journal[json.RawMessage]{events: n.events.Out()},
		OnFeed:    n.onFeed,
		OnApplied: func(_ string, a memdb.Applied) { n.applied = append(n.applied, a) },
		OnAcked: func(peer string, beaten []memdb.Rival) {
			for _, r := range beaten {
				n.beaten = append(n.beaten, fmt.Sprintf("%s: %s of %s", peer, r.Name, r.Node))
			}
		},
	})
	w.nodes[name] = n
	if !slices.Contains(w.names, name) {
		w.names = append(w.names, name)
	}
	return n
}

// kill ends a node, and all notice.
func (w *world) kill(name string) {
	w.nodes[name].dead = true
	for _, other := range w.names {
		if other != name {
			w.unlink(other, name)
		}
	}
}

// onFeed checks what every feed promises: each entry once, in order, and what is
// missing is told.
func (n *node) onFeed(feed, origin string, incarnation, missed uint64, entries []json.RawMessage) {
	require.Equal(n.w.t, events, feed)
	h, known := n.heardTo[origin]
	require.GreaterOrEqual(n.w.t, incarnation, h.incarnation, "events of an incarnation that is over")
	known = known && h.incarnation == incarnation
	at := h.seq + missed
	for i, raw := range entries {
		var e event.Event
		require.NoError(n.w.t, json.Unmarshal(raw, &e))
		seq, err := strconv.ParseUint(e.Subject, 10, 64)
		require.NoError(n.w.t, err)
		if known || i > 0 {
			require.Equal(n.w.t, at+1, seq, "%s hears the events of %s once and in order, or what it missed", n.name, origin)
		}
		at = seq
	}
	n.heardTo[origin] = hearing{incarnation, at}
	n.missed[origin] += missed
	n.events.Receive(origin, incarnation, missed, entries)
}

// link connects two nodes as membership does. What is under way on an earlier link
// still arrives.
func (w *world) link(a, b string) {
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		from, to := w.nodes[pair[0]], w.nodes[pair[1]]
		w.reway(pair[0], pair[1])
		require.NoError(w.t, from.db.Drop(to.name, to.db.Position(to.name).Incarnation))
		require.NoError(w.t, from.db.Show(to.name, to.db.Position(to.name)))
		from.Up(w.now, to.name, to.db.Position(to.name).Incarnation, to.db.Digest())
		w.flush(from)
	}
}

// reway has what a node says go another way from now on.
func (w *world) reway(from, to string) {
	w.ways[[2]string{from, to}] = &way{from: from, to: to, peer: w.nodes[to], flying: map[string]bool{}}
}

func (w *world) linkAll() {
	for i, a := range w.names {
		for _, b := range w.names[:i] {
			w.link(a, b)
		}
	}
}

// setCut cuts a link, which nobody notices.
func (w *world) setCut(a, b string, cut bool) {
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		if way := w.ways[pair]; way != nil {
			way.cut = cut
		}
	}
}

// unlink cuts a link, and both sides notice.
func (w *world) unlink(a, b string) {
	w.setCut(a, b, true)
	w.nodes[a].Down(b)
	w.nodes[b].Down(a)
}

// gossip does what pings do: everybody tells his linked peers what he knows,
// and again, and again.
func (w *world) gossip() {
	for range 3 {
		for _, a := range w.names {
			for _, b := range w.names {
				if way := w.ways[[2]string{a, b}]; a != b && way != nil && !way.cut {
					w.nodes[a].Saw(w.now, b, w.nodes[b].db.Digest())
					w.flush(w.nodes[a])
				}
			}
		}
		w.run(time.Second)
	}
}

// at has something happen later.
func (w *world) at(when time.Time, do func()) {
	w.steps++
	heap.Push(&w.queue, due{when, w.steps, do})
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	until := w.now.Add(d)
	for {
		next, tick := until.Add(1), (*node)(nil)
		if len(w.queue) > 0 {
			next = w.queue[0].at
		}
		for _, name := range w.names {
			n := w.nodes[name]
			if at := n.Next(); !n.dead && !at.IsZero() && at.Before(next) {
				next, tick = at, n
			}
		}
		if next.After(until) {
			break
		}
		if next.After(w.now) {
			w.now = next
		}
		w.steps++
		require.Less(w.t, w.steps, 2_000_000, "a loop without pause")
		if tick == nil {
			heap.Pop(&w.queue).(due).do()
			continue
		}
		tick.Tick(w.now)
		w.flush(tick)
		require.True(w.t, tick.Next().IsZero() || tick.Next().After(w.now), "%s ticks without pause", tick.name)
	}
	w.now = until
}

// flush gives what a node says to the links.
func (w *world) flush(n *node) {
	for _, call := range n.Take() {
		if n.dead {
			continue
		}
		way := w.ways[[2]string{n.name, call.Peer}]
		if way == nil {
			w.stranger(n, call)
			continue
		}
		require.False(w.t, way.flying[lanes(call)], "%s says %s to %s while the one before is under way", n.name, call.Method, call.Peer)
		way.flying[lanes(call)] = true
		w.said = append(w.said, said{w.now, n.name, call.Peer, call.Method, call.Params})
		w.send(n, way, call)
	}
}

// lanes names the lane of a call.
func lanes(c Call) string {
	switch p := c.Params.(type) {
	case *Publication:
		return "feed " + p.Feed
	case *Pull:
		return "pulls"
	default:
		return "changes"
	}
}

func (w *world) send(n *node, way *way, call Call) {
	f := fate{delay: w.delay, back: w.delay}
	if w.fate != nil {
		f = w.fate(way, call)
	}
	lost := func() {
		w.at(w.now.Add(w.timeout), func() { w.answer(n, way, call, nil, errs.New(errs.NodeUnavailable, "lost")) })
	}
	w.at(way.order(w.now.Add(f.delay)), func() {
		if way.cut || f.lost {
			lost()
			return
		}
		result, err := w.handle(way, call)
		if f.again > 0 {
			w.at(w.now.Add(f.again), func() { _, _ = w.handle(way, call) })
		}
		if f.unanswered {
			lost()
			return
		}
		w.at(w.now.Add(f.back), func() {
			if way.cut {
				lost()
				return
			}
			w.answer(n, way, call, result, err)
		})
	})
}

// order keeps the order of a link.
func (way *way) order(at time.Time) time.Time {
	if at.Before(way.last) {
		at = way.last
	}
	way.last = at
	return at
}

// handle has the peer handle a message.
func (w *world) handle(way *way, call Call) (any, error) {
	peer := way.peer
	if peer.dead {
		return nil, errors.New("dead")
	}
	params := call.Params
	if w.json {
		params = w.travel(params, Params(call.Method))
	}
	result, err := peer.Handle(way.from, params)
	w.flush(peer)
	if err == nil && w.json {
		result = w.travel(result, Result(call.Method))
	}
	return result, err
}

func (w *world) travel(from, to any) any {
	raw, err := json.Marshal(from)
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(raw, to))
	return to
}

func (w *world) answer(n *node, way *way, call Call, result any, err error) {
	delete(way.flying, lanes(call))
	if n.dead {
		return
	}
	n.Answered(w.now, call.ID, result, err)
	w.flush(n)
}

// write stores sandboxes of a node, each by its own change.
func (n *node) write(ids ...string) {
	for _, id := range ids {
		n.update(func(tx *memdb.Tx) error {
			return tx.PutSandbox(memdb.Sandbox{ID: id, Node: n.name, Status: memdb.SandboxRunning})
		})
	}
}

func (n *node) update(f func(tx *memdb.Tx) error) {
	_, err := n.db.Update(f)
	require.NoError(n.w.t, err)
	n.changed()
}

func (n *node) changed() {
	n.Changed(n.w.now)
	n.w.flush(n)
}

// claim claims a name at a time of the hybrid clock.
func (n *node) claim(name string, stamp uint64) {
	n.update(func(tx *memdb.Tx) error { return tx.PutClaim(memdb.Claim{Name: name, Node: n.name, Stamp: stamp}) })
}

// confirm raises a node's watermark to all it has written.
func (n *node) confirm() {
	require.NoError(n.w.t, n.db.Confirm(n.db.Log().Last()))
	n.changed()
}

// publish publishes some more events, each of which has its number as subject.
func (n *node) publish(count int) {
	for range count {
		n.events.Publish(event.Event{Type: "E", Subject: fmt.Sprint(n.events.Out().Last() + 1)})
		n.changed()
	}
}

// sees is the sandboxes that a node shows.
func (n *node) sees() string {
	list := []string{}
	for _, s := range n.db.View().Sandboxes() {
		list = append(list, s.Node+"/"+s.ID)
	}
	return strings.Join(list, " ")
}

// hears is the events a node shows, in its order.
func (n *node) hears() []string {
	page, err := n.events.Read(context.Background(), "", event.Filter{}, 1<<20, false)
	require.NoError(n.w.t, err)
	list := []string{}
	for _, e := range page.Events {
		list = append(list, e.Type+" "+e.Subject+string(e.Data))
	}
	return list
}

// state is all that a node has of all origins, as text.
func (n *node) state() map[string]string {
	all := map[string]string{}
	for origin := range n.db.Digest() {
		s, err := n.db.Rows(origin)
		require.NoError(n.w.t, err)
		if s.Position == (memdb.Position{}) {
			continue
		}
		text := fmt.Sprintf("at %v, confirmed to %d:", s.Position, s.Confirmed)
		for _, c := range s.Rows {
			text += fmt.Sprintf(" %s %.80s", c.ID, c.Row)
		}
		all[origin] = text
	}
	return all
}

// same requires that all nodes that live have the same state.
func (w *world) same() {
	var first *node
	for _, name := range w.names {
		n := w.nodes[name]
		if n.dead {
			continue
		}
		if first == nil {
			first = n
		}
		require.Equal(w.t, first.state(), n.state(), "%s and %s", first.name, n.name)
		require.Equal(w.t, first.db.Digest().Hash(), n.db.Digest().Hash())
	}
}

// sent picks the messages of one method, of those that a node has sent to another
// since a moment.
func (w *world) sent(from, to, method string, since time.Time) (list []said) {
	for _, s := range w.said {
		if s.from == from && s.to == to && s.method == method && !s.at.Before(since) {
			list = append(list, s)
		}
	}
	return list
}

// called is how often a method was called.
func (w *world) called(method string) (n int) {
	for _, s := range w.said {
		if s.method == method {
			n++
		}
	}
	return n
}
