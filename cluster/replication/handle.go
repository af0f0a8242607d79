package replication

import (
	"encoding/json"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/sabotage"
	"github.com/glassbox-dev/glassbox/memdb"
)

// maxStagedRows bounds the snapshot a peer may send.
const maxStagedRows = 1 << 20

// staging collects the chunks of one snapshot.
type staging struct {
	snapshot memdb.Snapshot
	next     int
}

// add takes the next chunk; done says that the snapshot is whole. A chunk that
// does not fit what came before discards it all.
func (s *staging) add(c Chunk) (done bool, err error) {
	if c.Index == 0 {
		*s = staging{snapshot: memdb.Snapshot{Position: c.Position, Confirmed: c.Confirmed}}
	}
	if c.Index != s.next || c.Position != s.snapshot.Position {
		err = errs.New(errs.Conflict, "chunk %d at %v of a snapshot comes where chunk %d at %v is due; begin again", c.Index, c.Position, s.next, s.snapshot.Position)
		*s = staging{}
		return false, err
	}
	if len(s.snapshot.Rows)+len(c.Rows) > maxStagedRows {
		*s = staging{}
		return false, errs.New(errs.TooLarge, "a snapshot has more than %d rows", maxStagedRows)
	}
	if len(c.Rows) == 0 && !c.Last {
		*s = staging{}
		return false, errs.New(errs.BadParameter, "chunk %d of a snapshot is empty and not the last: it might never end", c.Index)
	}
	s.next++
	s.snapshot.Rows = append(s.snapshot.Rows, c.Rows...)
	return c.Last, nil
}

// hearing is how far a peer's feed was heard.
type hearing struct {
	incarnation uint64
	seq         uint64
}

// Handle answers a peer.
func (c *Core) Handle(from string, params any) (any, error) {
	switch p := params.(type) {
	case *Push:
		return c.takePush(from, *p)
	case *Chunk:
		return c.takeChunk(from, *p)
	case *Publication:
		return c.takePublication(from, *p)
	case *Pull:
		return c.givePull(from, *p)
	default:
		return nil, errs.New(errs.MethodNotFound, "no such method of replication; the nodes may be of different versions")
	}
}

func (c *Core) takePush(from string, p Push) (*Reached, error) {
	a, err := c.cfg.DB.Apply(from, p)
	if err != nil {
		return nil, err
	}
	c.cfg.OnApplied(from, a)
	return &Reached{a.Position, a.Beaten}, nil
}

// takeChunk takes a part of a snapshot. A peer pushes its own rows only.
func (c *Core) takeChunk(from string, chunk Chunk) (*Reached, error) {
	if chunk.Origin != from {
		return nil, errs.New(errs.Forbidden, "node %s sent the rows of %s, which it does not own", from, chunk.Origin)
	}
	s := c.staged[from]
	if s == nil {
		s = &staging{}
		c.staged[from] = s
	}
	done, err := s.add(chunk)
	if done || err != nil {
		delete(c.staged, from)
	}
	if err != nil || !done {
		return &Reached{Position: c.cfg.DB.Position(from)}, err
	}
	a, err := c.cfg.DB.Install(from, s.snapshot)
	if err != nil {
		return nil, err
	}
	c.cfg.OnApplied(from, a)
	return &Reached{a.Position, a.Beaten}, nil
}

// givePull answers with what the log still has, or else with a chunk of all rows
// as they were when the first was asked for: otherwise rows that change faster
// than they can be sent would never arrive.
func (c *Core) givePull(from string, p Pull) (*Pulled, error) {
	key := [2]string{from, p.Origin}
	list := c.given[key]
	if p.Index == 0 {
		c.giveUp(from)
		if delta, ok := c.cfg.DB.Since(p.Origin, p.Have, batchEntries); ok {
			delta.Changes = cut(delta.Changes, memdb.Change.Size)
			return &Pulled{Delta: &delta}, nil
		}
		s, err := c.cfg.DB.Rows(p.Origin)
		if err != nil {
			return nil, err
		}
		list = chunks(p.Origin, s)
	}
	if p.Index < 0 || p.Index >= len(list) {
		return nil, errs.New(errs.Conflict, "no snapshot of %s with a chunk %d is being pulled by %s; begin again", p.Origin, p.Index, from)
	}
	if c.given[key] = list; list[p.Index].Last {
		delete(c.given, key)
	}
	return &Pulled{Chunk: &list[p.Index]}, nil
}

// takePublication takes a peer's entries of a feed, each once and in order.
func (c *Core) takePublication(from string, p Publication) (*Heard, error) {
	if c.cfg.Feeds[p.Feed] == nil {
		return nil, errs.New(errs.BadParameter, "node %s sent the feed %q, which is not known here; the nodes may be of different versions", from, p.Feed)
	}
	key := [2]string{p.Feed, from}
	h, met := c.heard[key]
	if h.incarnation > p.Incarnation {
		return nil, errs.New(errs.Conflict, "incarnation %d of node %s is over, the %s of %d are known", p.Incarnation, from, p.Feed, h.incarnation)
	}
	known := met // one that was reborn while we were here begins with its first entry
	if h.incarnation != p.Incarnation {
		h = hearing{incarnation: p.Incarnation}
		if !met {
			h.seq = p.From // and one that is new to us with what is to come
		}
		c.heard[key] = h
	}
	if len(p.Entries) == 0 && p.Missed == 0 {
		return &Heard{known, h.seq}, nil // asked where we stand
	}
	fresh, missed := p.fresh(h.seq)
	if sabotage.Breaks("take a message twice") {
		fresh = p.Entries
	}
	if len(fresh) > 0 || missed > 0 {
		c.cfg.OnFeed(p.Feed, from, p.Incarnation, missed, fresh)
	}
	h.seq = max(h.seq, p.From+p.Missed+uint64(len(p.Entries)))
	c.heard[key] = h
	return &Heard{known, h.seq}, nil
}

// fresh returns the entries behind seq, and how many were lost before them.
func (p Publication) fresh(seq uint64) (entries []json.RawMessage, missed uint64) {
	first := p.From + p.Missed // the number before the first entry
	if seq >= first {
		return p.Entries[min(seq-first, uint64(len(p.Entries))):], 0
	}
	return p.Entries, first - seq
}
