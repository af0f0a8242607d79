package registry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/cluster/internal/alarm"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/sabotage"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Times of the core.
const (
	// askAgain is how long a question that failed, or whose answer was "not
	// settled yet", waits to be asked again when nothing else happens.
	askAgain = 50 * time.Millisecond
	// leavesSoon is the same for a name whose holder has given it up, which all
	// will have acknowledged in a round trip.
	leavesSoon = 2 * time.Millisecond
	// askMost bounds the names in one question.
	askMost = 512
)

// Config is what a [Core] works on.
type Config struct {
	Self string
	DB   *memdb.DB
	// Acked tells how far a peer has acknowledged this node's changes.
	Acked func(node string) uint64
	Log   *slog.Logger
}

// Core decides who holds which name. It is pure: time comes with each call, and
// what is to be asked, told and answered is returned by [Core.Take]. It is used
// from one goroutine at a time.
type Core struct {
	cfg     Config
	awaited []string // sorted
	clock   uint64   // the hybrid logical clock: the latest stamp made or seen

	slots     map[string]*slot   // names with something going on
	contested map[string]*slot   // those of them with rivals
	shared    map[string]bool    // names that this node and a visible other one claim
	lookups   map[uint64]*lookup // under way
	waiting   []*acks            // for acknowledgements, in the order of their numbers
	unsettled []*slot            // whose claim is not confirmed, in the order of their numbers
	bound     map[string]map[string]bool
	leaving   map[string]uint64 // names given up by a change that not all have acknowledged
	replaced  map[string]uint64 // names given another value by such a change
	claims    []claiming        // to be written by the next flush
	gathers   bool              // a claim waits for it
	flushed   bool              // claims were written since all was settled
	now       time.Time         // of the last request

	asks   map[string]map[string][]func(now time.Time, t *Told, err error) // by peer and name
	calls  map[uint64]sent
	lastID uint64
	next   alarm.Alarm

	out Output
}

// Output is what the core wants done, in this order.
type Output struct {
	Wrote  bool // this node's rows, or its watermark, have changed
	Events []Event
	Calls  []Call
	Done   []Done
}

// Call is a question to a peer, answered by [Core.Answered].
type Call struct {
	ID   uint64
	Peer string
	Ask  Ask
}

// Done is the end of a request.
type Done struct {
	ID      uint64
	Claim   memdb.Claim
	Created bool // the claim is new, or its value is
	Err     error
}

// acks waits until everybody has acknowledged a change.
type acks struct {
	seq  uint64
	done func(now time.Time)
}

// sent is a question under way.
type sent struct {
	peer  string
	names []string
	heard map[string][]func(now time.Time, t *Told, err error)
}

// NewCore returns the core of a node that holds nothing.
func NewCore(cfg Config) *Core {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Core{
		cfg: cfg, slots: map[string]*slot{}, contested: map[string]*slot{}, shared: map[string]bool{}, lookups: map[uint64]*lookup{},
		bound: map[string]map[string]bool{}, leaving: map[string]uint64{}, replaced: map[string]uint64{}, asks: map[string]map[string][]func(time.Time, *Told, error){}, calls: map[uint64]sent{},
	}
}

// Take returns what is to be done.
func (c *Core) Take() Output {
	c.flush(c.now)
	if c.flushed {
		c.flushed = false
		c.settle(c.now)
	}
	for _, peer := range slices.Sorted(maps.Keys(c.asks)) {
		names := slices.Sorted(maps.Keys(c.asks[peer]))
		for part := range slices.Chunk(names, askMost) {
			c.lastID++
			heard := make(map[string][]func(time.Time, *Told, error), len(part))
			for _, name := range part {
				heard[name] = c.asks[peer][name]
			}
			c.calls[c.lastID] = sent{peer, part, heard}
			c.out.Calls = append(c.out.Calls, Call{c.lastID, peer, Ask{part}})
		}
		delete(c.asks, peer)
	}
	out := c.out
	c.out = Output{}
	return out
}

// Members says which others take part in every decision. What waited for somebody
// else goes on.
func (c *Core) Members(now time.Time, awaited []string) {
	c.flush(now)
	c.awaited = slices.Sorted(slices.Values(awaited))
	c.judgeContested(now)
	for _, id := range slices.Sorted(maps.Keys(c.lookups)) {
		c.lookups[id].judge(now)
	}
	c.settle(now)
}

func (c *Core) isAwaited(node string) bool {
	_, found := slices.BinarySearch(c.awaited, node)
	return found
}

// Recheck looks at all names again: an origin has become visible, or is no
// more.
func (c *Core) Recheck(now time.Time) {
	c.flush(now)
	for _, name := range c.cfg.DB.Contested() {
		c.judge(now, c.slot(name))
	}
	c.judgeShared(now)
	c.judgeContested(now)
	c.settle(now)
}

func (c *Core) judgeShared(now time.Time) {
	for _, name := range slices.Sorted(maps.Keys(c.shared)) {
		c.judge(now, c.slot(name))
	}
}

// Applied takes what has come from an origin.
func (c *Core) Applied(now time.Time, origin string, a memdb.Applied) {
	c.flush(now)
	c.clock = max(c.clock, a.Stamp)
	if a.Shown && !sabotage.Breaks("forget to look for conflicts") {
		c.Recheck(now)
	}
	for _, name := range a.Contested {
		c.judge(now, c.slot(name))
	}
	if a.Rose { // what was worse while it was not confirmed may be better now
		c.judgeShared(now)
	}
	for _, name := range slices.Sorted(maps.Keys(c.contested)) {
		if s := c.contested[name]; s != nil && s.rivals[origin] != nil {
			s.rivals[origin].moved(a)
			c.judge(now, s)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.lookups)) {
		if l := c.lookups[id]; l != nil && l.waits(origin, a) {
			l.judge(now)
		}
	}
	c.settle(now) // a rival may have turned out to be none
}

// Acked takes a peer's acknowledgement, and which claims it knows better ones
// than.
func (c *Core) Acked(now time.Time, _ string, beaten []memdb.Rival) {
	c.flush(now)
	for _, r := range beaten {
		if sabotage.Breaks("ignore who knows a better claim") {
			break
		}
		c.beaten(now, r)
	}
	c.settle(now)
}

// everybody returns how far all that take part have acknowledged.
func (c *Core) everybody() uint64 {
	seq := c.cfg.DB.Log().Last()
	for _, node := range c.awaited {
		if sabotage.Breaks("skip an acknowledgement") && node == c.awaited[0] {
			continue
		}
		seq = min(seq, c.cfg.Acked(node))
	}
	return seq
}

// settle confirms what all have acknowledged and nobody contests, and ends what
// has waited for that.
func (c *Core) settle(now time.Time) {
	acked := c.everybody()
	for again := true; again; again = len(c.waiting) > 0 && c.waiting[0].seq <= acked {
		for len(c.waiting) > 0 && c.waiting[0].seq <= acked {
			w := c.waiting[0]
			c.waiting = c.waiting[1:]
			w.done(now)
		}
		c.confirm(now, acked) // what was queued behind may wait for nothing new
	}
}

// confirm raises the watermark as far as it can be.
func (c *Core) confirm(now time.Time, acked uint64) {
	if !sabotage.Breaks("wait in a circle") {
		c.letPass(acked)
	}
	limit := acked
	for _, s := range c.unsettled {
		if s.since > limit {
			break
		}
		if s.blocked() {
			limit = s.since - 1
			break
		}
	}
	if limit > c.cfg.DB.Confirmed(c.cfg.Self) {
		if err := c.cfg.DB.Confirm(limit); err != nil {
			c.cfg.Log.Error("the watermark was not raised", "err", err)
			return
		}
		c.out.Wrote = true
	}
	if n := slices.IndexFunc(c.unsettled, func(s *slot) bool { return s.since > limit }); n != 0 {
		if n < 0 {
			n = len(c.unsettled)
		}
		c.out.Events, c.out.Done = slices.Grow(c.out.Events, n), slices.Grow(c.out.Done, n)
	}
	for len(c.unsettled) > 0 && c.unsettled[0].since <= limit {
		s := c.unsettled[0]
		c.unsettled = c.unsettled[1:]
		s.confirmed(now)
	}
}

// letPass has claims that wait for a rival come behind one of a higher epoch that
// waits for nothing but them. By their stamps alone no claims ever wait in a circle: a
// node's own are made in their order. By its epoch one can be better than an earlier
// one, whose node holds back what is waited for here.
func (c *Core) letPass(acked uint64) {
	for i := len(c.unsettled) - 1; i > 0; i-- {
		s := c.unsettled[i]
		if r, ok := s.queue[0].(Register); !ok || r.Epoch == 0 || s.since > acked || s.blocked() {
			continue
		}
		for _, before := range slices.Clone(c.unsettled[:i]) {
			if before.blocked() {
				before.renew()
			}
		}
		return
	}
}

// note keeps the number of a change to a name until all have acknowledged it.
func (c *Core) note(kept map[string]uint64, name string, seq uint64) {
	kept[name] = seq
	c.await(seq, func(time.Time) {
		if kept[name] == seq {
			delete(kept, name)
		}
	})
}

// await calls done when everybody has acknowledged a change.
func (c *Core) await(seq uint64, done func(now time.Time)) {
	w := &acks{seq, done}
	i, _ := slices.BinarySearchFunc(c.waiting, w, func(a, b *acks) int { return cmp.Or(cmp.Compare(a.seq, b.seq), -1) })
	c.waiting = slices.Insert(c.waiting, i, w)
}

// Await begins a request that ends when all that take part have acknowledged
// this node's changes up to seq.
func (c *Core) Await(now time.Time, id, seq uint64) {
	c.flush(now)
	c.await(seq, func(time.Time) { c.done(Done{ID: id}) })
	c.settle(now)
}

// write changes this node's rows.
func (c *Core) write(f func(tx *memdb.Tx) error) (memdb.Position, error) {
	c.out.Wrote = true
	return c.cfg.DB.Update(f)
}

// stamp is the next time of the hybrid logical clock.
func (c *Core) stamp(now time.Time) uint64 {
	c.clock = max(c.clock+1, uint64(max(0, now.UnixMicro())))
	return c.clock
}

// Tick does what is due by time.
func (c *Core) Tick(now time.Time) {
	c.flush(now)
	if !c.next.Rings(now) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.slots)) {
		if s := c.slots[name]; s != nil {
			c.judge(now, s)
			c.next.AskAfter(now, s.wants(now))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.lookups)) {
		if l := c.lookups[id]; l != nil {
			l.judge(now)
			c.next.AskAfter(now, l.wants(now))
		}
	}
	c.settle(now)
}

// Next returns when a Tick is wanted; zero if none is.
func (c *Core) Next() time.Time { return c.next.At() }

func (c *Core) judgeContested(now time.Time) {
	for _, name := range slices.Sorted(maps.Keys(c.contested)) {
		if s := c.contested[name]; s != nil {
			c.judge(now, s)
		}
	}
}

func (c *Core) done(d Done) { c.out.Done = append(c.out.Done, d) }

// same reports whether two values are the same text of JSON.
func same(a, b json.RawMessage) bool { return string(a) == string(b) }

// late is what ends a request whose time is over, and that has done something.
func late(name string, waitedFor error) error {
	if waitedFor != nil {
		return waitedFor
	}
	return errs.New(errs.Timeout, "the name %q was not settled in time; ask who holds it", name)
}

// notBegun is what ends a request whose time was over before it did anything.
func notBegun(name string, waitedFor error) error {
	if waitedFor != nil {
		return waitedFor
	}
	err := errs.New(errs.Timeout, "the name %q was not settled in time by what came before, and nothing was done; ask again", name)
	err.Sure = true
	return err
}

// Busy says what is under way; "" if nothing is.
func (c *Core) Busy() string {
	for _, part := range []struct {
		what string
		n    int
	}{
		{"lookups", len(c.lookups)}, {"claims not settled", len(c.unsettled)}, {"acknowledgements", len(c.waiting)}, {"names being given up", len(c.leaving)},
		{"values being replaced", len(c.replaced)}, {"questions", len(c.calls)}, {"names with two claims", len(c.shared)}, {"contested names", len(c.contested)}, {"names", len(c.slots)},
	} {
		if part.n > 0 {
			return fmt.Sprintf("%d %s", part.n, part.what)
		}
	}
	return ""
}
