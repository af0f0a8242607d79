package replication

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Times of a link.
const (
	firstBackoff = 20 * time.Millisecond  // after a failure; doubled each time
	maxBackoff   = 500 * time.Millisecond // up to this
	// tellAfter is how long a risen watermark waits for changes to go with. Who
	// looks a name up meanwhile has to ask its holder.
	tellAfter = 5 * time.Millisecond
)

// link is the way to one peer. It has lanes, in each of which one message is
// on its way at a time.
type link struct {
	c           *Core
	node        string
	incarnation uint64 // the peer's

	changes lane
	of      uint64    // the incarnation of this node that acked is of
	acked   uint64    // what the peer has, and has said which claims it knows better ones than
	known   bool      // it is known where the peer stands
	probed  bool      // it has answered once
	told    uint64    // the watermark it was told
	tellAt  time.Time // when it is to be told a higher one; zero: it knows
	sending []Chunk   // of the snapshot under way

	feeds []feedLane

	pulls  lane
	wanted memdb.Digest // what the peer knew when there was something to pull; nil: nothing to do
	seen   memdb.Digest // what it said last
	behind []string     // the origins still to be pulled
	target memdb.Digest // how far
	staged staging      // of the first of them
}

// lane is one sequence of messages.
type lane struct {
	what      string
	busy      uint64 // the call under way; 0: none
	backoff   time.Duration
	notBefore time.Time // after a failure; zero: at once
}

// feedLane is the lane of one feed.
type feedLane struct {
	lane
	name   string
	after  uint64
	probed bool
}

func (l *link) lanes() []*lane {
	all := []*lane{&l.changes, &l.pulls}
	for i := range l.feeds {
		all = append(all, &l.feeds[i].lane)
	}
	return all
}

// pump says whatever can be said now.
func (l *link) pump(now time.Time) {
	if l.changes.free(now) {
		l.sendChanges(now)
	}
	for i := range l.feeds {
		if f := &l.feeds[i]; f.free(now) {
			l.sendFeed(f)
		}
	}
	if l.pulls.free(now) {
		l.pull(now)
	}
}

func (ln *lane) free(now time.Time) bool { return ln.busy == 0 && !now.Before(ln.notBefore) }

// say sends a message in a lane. When it is answered, or has failed, the next
// is sent.
func (l *link) say(ln *lane, what, method string, params any, answered func(now time.Time, result any) error) {
	ln.what = what
	ln.busy = l.c.call(l.node, method, params, func(now time.Time, result any, err error) {
		ln.busy = 0
		if err == nil {
			err = answered(now, result)
		}
		if err == nil {
			ln.backoff, ln.notBefore = 0, time.Time{}
		} else {
			l.failed(now, ln, err)
		}
		l.pump(now)
	})
}

// failed waits longer after each failure in a row, and logs the first. What had
// been begun is begun again: a snapshot here, what is pulled by the next digest.
func (l *link) failed(now time.Time, ln *lane, err error) {
	switch ln {
	case &l.changes:
		l.sending = nil
	case &l.pulls:
		l.stopPulling()
	}
	if ln.backoff == 0 {
		ln.backoff = firstBackoff
		l.c.cfg.Log.Warn("replication is held up", "peer", l.node, "what", ln.what, "err", err)
	} else {
		ln.backoff = min(2*ln.backoff, maxBackoff)
	}
	ln.notBefore = now.Add(ln.backoff)
	l.c.next.Ask(ln.notBefore)
}

// begin finds where to go on with a peer that is at a position. Behind the
// watermark all is sent again: the answer tells which claims are beaten, and the
// one to the first time may have been lost.
func (l *link) begin(at memdb.Position) {
	l.known, l.of, l.acked = true, l.c.incarnation(), 0
	if at.Incarnation == l.of {
		l.acked = min(at.Seq, l.c.cfg.DB.Confirmed(l.c.cfg.Self))
	}
}

// probe asks a peer where it stands.
func (l *link) probe() {
	l.say(&l.changes, "changes", PushMethod, &Push{Incarnation: l.c.incarnation()}, func(_ time.Time, result any) error {
		at, ok := result.(*Reached)
		if !ok {
			return unexpected(l.node)
		}
		l.begin(at.Position)
		return nil
	})
}

// sendChanges brings the peer this node's changes. The first message may be
// empty: its answer tells where the peer stands. In a new incarnation of this
// node the peer gets all anew.
func (l *link) sendChanges(now time.Time) {
	if l.known && l.of != l.c.incarnation() {
		l.begin(memdb.Position{})
		l.probed, l.told, l.sending = false, 0, nil
	}
	switch {
	case !l.known:
		l.probe()
		return
	case len(l.sending) > 0:
		l.sendChunk()
		return
	}
	db := l.c.cfg.DB
	items, missed := db.Log().TryRead(l.acked, batchEntries)
	if missed > 0 {
		l.beginSnapshot(now)
		return
	}
	confirmed := db.Confirmed(l.c.cfg.Self)
	if confirmed <= l.told {
		l.tellAt = time.Time{}
	} else if l.tellAt.IsZero() {
		l.tellAt = now.Add(tellAfter)
		l.c.next.Ask(l.tellAt)
	}
	tell := !l.tellAt.IsZero() && !now.Before(l.tellAt)
	if len(items) == 0 && l.probed && !tell {
		return
	}
	p := &Push{Incarnation: l.c.incarnation(), From: l.acked, Changes: numbered(items), Confirmed: confirmed}
	l.say(&l.changes, "changes", PushMethod, p, func(now time.Time, result any) error {
		at, ok := result.(*Reached)
		if !ok {
			return unexpected(l.node)
		}
		least := p.From + uint64(min(1, len(p.Changes)))
		return l.advance(p.Incarnation, p.From+uint64(len(p.Changes)), least, p.Confirmed, at)
	})
}

func numbered(items []journal.Item[memdb.Change]) []memdb.Change {
	items = cut(items, func(i journal.Item[memdb.Change]) int { return i.Value.Size() })
	changes := make([]memdb.Change, len(items))
	for i, item := range items {
		changes[i] = item.Value
		changes[i].Seq = item.Seq
	}
	return changes
}

// advance notes what the peer acknowledged of what was sent in an incarnation,
// which has to be least if anything was. A peer that was reset goes back, and gets
// everything again.
func (l *link) advance(incarnation, sent, least, told uint64, at *Reached) error {
	if incarnation != l.c.incarnation() {
		return nil // a new one has begun, in which all is said anew
	}
	position := at.Position
	if position.Incarnation > incarnation {
		return errs.New(errs.Conflict, "node %s knows a later incarnation of this node, %d", l.node, position.Incarnation)
	}
	if position.Incarnation < incarnation {
		position.Seq = 0
	}
	if last := l.c.cfg.DB.Log().Last(); position.Seq > last {
		return errs.New(errs.Conflict, "node %s says it has our change %d, the last one is %d", l.node, position.Seq, last)
	}
	l.probed, l.told, l.tellAt = true, told, time.Time{}
	l.acked = min(position.Seq, sent)
	l.c.cfg.OnAcked(l.node, at.Beaten)
	if l.acked < least {
		return errs.New(errs.Conflict, "node %s was sent our changes up to %d and says it has %d", l.node, sent, position.Seq)
	}
	return nil
}

// beginSnapshot sends all of this node's rows.
func (l *link) beginSnapshot(now time.Time) {
	s, err := l.c.cfg.DB.Rows(l.c.cfg.Self)
	if err != nil {
		l.failed(now, &l.changes, err)
		return
	}
	l.sending = chunks(l.c.cfg.Self, s)
	l.sendChunk()
}

func (l *link) sendChunk() {
	chunk := l.sending[0]
	l.sending = l.sending[1:]
	l.say(&l.changes, "snapshot", SnapshotMethod, &chunk, func(now time.Time, result any) error {
		at, ok := result.(*Reached)
		switch {
		case !ok:
			return unexpected(l.node)
		case !chunk.Last:
			return nil
		}
		seq := chunk.Position.Seq
		return l.advance(chunk.Position.Incarnation, seq, seq, chunk.Confirmed, at)
	})
}

// sendFeed brings the peer what is new in a feed. A peer to which this node is new
// begins with what is to come, one that knew a former incarnation with the first
// entry of this one.
func (l *link) sendFeed(f *feedLane) {
	feed := l.c.cfg.Feeds[f.name]
	if f.probed && feed.Last() <= f.after {
		return
	}
	p := &Publication{Feed: f.name, Incarnation: l.c.incarnation(), From: f.after}
	if f.probed {
		var items []journal.Item[json.RawMessage]
		items, p.Missed = feed.TryRead(f.after, batchEntries)
		for _, item := range cut(items, func(i journal.Item[json.RawMessage]) int { return len(i.Value) }) {
			p.Entries = append(p.Entries, item.Value)
		}
	}
	l.say(&f.lane, f.name, FeedMethod, p, func(_ time.Time, result any) error {
		at, ok := result.(*Heard)
		if !ok {
			return unexpected(l.node)
		}
		if at.Seq > feed.Last() || len(p.Entries) > 0 && at.Seq <= p.From {
			return errs.New(errs.Conflict, "node %s says it has entry %d of our %s, after those behind %d of %d were sent", l.node, at.Seq, f.name, p.From, feed.Last())
		}
		if f.probed || at.Known {
			f.after = at.Seq
		}
		f.probed = true
		return nil
	})
}

// lacking names the third origins of which a digest shows more than is known
// here.
func (l *link) lacking(theirs memdb.Digest) (origins []string) {
	for _, origin := range slices.Sorted(maps.Keys(theirs)) {
		if l.lacks(origin, theirs[origin]) {
			origins = append(origins, origin)
		}
	}
	return origins
}

func (l *link) lacks(origin string, theirs memdb.Position) bool {
	return origin != l.c.cfg.Self && origin != l.node && l.c.passed[origin] < theirs.Incarnation &&
		!l.c.cfg.DB.Position(origin).Covers(theirs)
}

// pull asks the peer for what it knows more of third origins, one after the
// other. What has come another way meanwhile is not asked for.
func (l *link) pull(now time.Time) {
	if len(l.behind) == 0 && l.wanted != nil {
		l.behind, l.target, l.wanted, l.staged = l.lacking(l.wanted), l.wanted, nil, staging{}
	}
	for len(l.behind) > 0 && !l.lacks(l.behind[0], l.target[l.behind[0]]) {
		l.behind, l.staged = l.behind[1:], staging{}
	}
	if len(l.behind) == 0 {
		l.stopPulling()
		return
	}
	p := &Pull{Origin: l.behind[0], Have: l.c.cfg.DB.Position(l.behind[0]), Index: l.staged.next}
	l.say(&l.pulls, "rows of "+p.Origin, PullMethod, p, func(now time.Time, result any) error {
		done, err := l.pulled(p, result)
		if done && err == nil {
			l.behind, l.staged = l.behind[1:], staging{}
		}
		return err
	})
}

// stopPulling gives up what is being pulled, which the next digest begins again.
func (l *link) stopPulling() { l.behind, l.target, l.staged = nil, nil, staging{} }

// pulled takes an answer to a pull; done says that the peer has no more of this
// origin. If rows changed so that the chunks do not fit, the next digest begins it
// again.
func (l *link) pulled(p *Pull, result any) (done bool, err error) {
	r, ok := result.(*Pulled)
	switch {
	case !ok || r.Delta == nil && r.Chunk == nil:
		return false, unexpected(l.node)
	case !l.lacks(p.Origin, l.target[p.Origin]):
		return true, nil // it has come another way, or its names were forgotten
	case r.Delta != nil:
		a, err := l.c.cfg.DB.Apply(p.Origin, *r.Delta)
		if err != nil {
			return false, err
		}
		l.c.cfg.OnApplied(p.Origin, a)
		return a.Position == p.Have, nil
	case r.Chunk.Origin != p.Origin || r.Chunk.Index != p.Index:
		return false, errs.New(errs.BadParameter, "node %s was asked for chunk %d of the rows of %s and sent chunk %d of those of %s",
			l.node, p.Index, p.Origin, r.Chunk.Index, r.Chunk.Origin)
	}
	if done, err = l.staged.add(*r.Chunk); err != nil || !done {
		return false, err
	}
	a, err := l.c.cfg.DB.Install(p.Origin, l.staged.snapshot)
	if err == nil {
		l.c.cfg.OnApplied(p.Origin, a)
	}
	return true, err
}
