package replication

import (
	"context"
	"encoding/json"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Times of a link.
const (
	callTimeout  = 5 * time.Second        // of one message
	firstBackoff = 20 * time.Millisecond  // after a failure; doubled each time
	maxBackoff   = 500 * time.Millisecond // up to this
)

// link is the way to one peer.
type link struct {
	r           *Replicator
	node        string
	incarnation uint64 // the peer's
	wanted      chan memdb.Digest
	cancel      context.CancelFunc

	// Guarded by the replicator's mu.
	acked uint64
	seen  memdb.Digest
}

func (l *link) stop() {
	if l.cancel != nil {
		l.cancel()
	}
}

func (l *link) call(ctx context.Context, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return l.r.cfg.Caller.Call(ctx, l.node, method, params, result)
}

// retry calls step until the context ends, waiting longer after each failure
// in a row. A failure is logged once per row.
func (l *link) retry(ctx context.Context, what string, step func(context.Context) error) {
	backoff := firstBackoff
	for ctx.Err() == nil {
		err := step(ctx)
		if err == nil {
			backoff = firstBackoff
			continue
		}
		if ctx.Err() == nil && backoff == firstBackoff {
			l.r.cfg.Log.Warn("replication is held up", "peer", l.node, "what", what, "err", err)
		}
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// sendChanges broadcasts this node's changes over the link. The first message
// may be empty: its answer tells where the peer stands.
func (l *link) sendChanges(ctx context.Context) {
	probed := false
	l.retry(ctx, "changes", func(ctx context.Context) error {
		from := l.ackedSeq()
		if probed {
			if err := l.r.cfg.DB.Log().Wait(ctx, from); err != nil {
				return err
			}
		}
		items, missed := l.r.cfg.DB.Log().TryRead(from, batchEntries)
		if missed > 0 {
			return l.sendSnapshot(ctx)
		}
		p := push{Incarnation: l.r.incarnation(), From: from, Changes: numbered(items)}
		var at reached
		if err := l.call(ctx, pushMethod, p, &at); err != nil {
			return err
		}
		probed = true
		if err := l.advance(p.Incarnation, at.Position); err != nil {
			return err
		}
		if at := l.ackedSeq(); len(p.Changes) > 0 && at == from {
			return errs.New(errs.Conflict, "node %s has not advanced beyond our change %d", l.node, at)
		}
		return nil
	})
}

func numbered(items []journal.Item[memdb.Change]) []memdb.Change {
	items = cut(items, func(i journal.Item[memdb.Change]) int { return changeSize(i.Value) })
	changes := make([]memdb.Change, len(items))
	for i, item := range items {
		changes[i] = item.Value
		changes[i].Seq = item.Seq
	}
	return changes
}

func (l *link) ackedSeq() uint64 {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.acked
}

// advance notes what the peer acknowledged. A peer that was reset goes back,
// and gets everything again.
func (l *link) advance(incarnation uint64, at memdb.Position) error {
	if at.Incarnation > incarnation {
		return errs.New(errs.Conflict, "node %s knows a later incarnation of this node, %d", l.node, at.Incarnation)
	}
	if at.Incarnation < incarnation {
		at.Seq = 0
	}
	if last := l.r.cfg.DB.Log().Last(); at.Seq > last {
		return errs.New(errs.Conflict, "node %s says it has our change %d, the last one is %d", l.node, at.Seq, last)
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.acked = at.Seq
	l.r.announce()
	return nil
}

// sendSnapshot sends all of this node's rows.
func (l *link) sendSnapshot(ctx context.Context) error {
	position, rows, err := l.r.cfg.DB.Rows(l.r.cfg.Self)
	if err != nil {
		return err
	}
	var at reached
	for _, c := range chunks(l.r.cfg.Self, position, rows) {
		if err := l.call(ctx, snapshotMethod, c, &at); err != nil {
			return err
		}
	}
	return l.advance(position.Incarnation, at.Position)
}

// sendEvents broadcasts this node's events over the link. A peer that knows
// none of this incarnation begins with those to come.
func (l *link) sendEvents(ctx context.Context) {
	events := l.r.cfg.Events
	after, probed := events.Last(), false
	l.retry(ctx, "events", func(ctx context.Context) error {
		if probed {
			if err := events.Wait(ctx, after); err != nil {
				return err
			}
		}
		p := publication{Incarnation: l.r.incarnation(), From: after}
		if probed {
			var items []journal.Item[json.RawMessage]
			items, p.Missed = events.TryRead(after, batchEntries)
			for _, item := range cut(items, func(i journal.Item[json.RawMessage]) int { return len(i.Value) }) {
				p.Events = append(p.Events, item.Value)
			}
		}
		var at heard
		if err := l.call(ctx, eventsMethod, p, &at); err != nil {
			return err
		}
		if at.Seq > events.Last() || len(p.Events) > 0 && at.Seq <= p.From {
			return errs.New(errs.Conflict, "node %s says it has our event %d, after those behind %d of %d were sent", l.node, at.Seq, p.From, events.Last())
		}
		if probed || at.Known {
			after = at.Seq
		}
		probed = true
		return nil
	})
}

// pullMissing asks the peer for what it knows more of third origins.
func (l *link) pullMissing(ctx context.Context) {
	for {
		select {
		case theirs := <-l.wanted:
			l.pull(ctx, theirs)
		case <-ctx.Done():
			return
		}
	}
}

func (l *link) pull(ctx context.Context, theirs memdb.Digest) {
	mine := l.r.cfg.DB.Digest()
	for origin, position := range theirs {
		if origin == l.r.cfg.Self || origin == l.node || mine[origin].Covers(position) {
			continue
		}
		if err := l.pullOrigin(ctx, origin); err != nil && ctx.Err() == nil {
			l.r.cfg.Log.Warn("rows not pulled", "peer", l.node, "origin", origin, "err", err)
		}
	}
}

// pullOrigin fetches and installs a snapshot of a third origin's rows. If they
// change meanwhile the chunks do not fit; then it is begun again, by the next
// digest.
func (l *link) pullOrigin(ctx context.Context, origin string) error {
	var s staging
	for index := 0; ; index++ {
		var c chunk
		if err := l.call(ctx, pullMethod, pull{origin, index}, &c); err != nil {
			return err
		}
		if c.Origin != origin || c.Index != index {
			return errs.New(errs.BadParameter, "node %s was asked for chunk %d of the rows of %s and sent chunk %d of those of %s", l.node, index, origin, c.Index, c.Origin)
		}
		done, err := s.add(c)
		if err != nil {
			return err
		}
		if done {
			_, err := l.r.cfg.DB.Install(origin, s.position, s.rows)
			return err
		}
	}
}
