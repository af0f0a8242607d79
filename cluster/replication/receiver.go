package replication

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// maxStagedRows bounds the snapshot a peer may send.
const maxStagedRows = 1 << 20

// staging collects the chunks of one snapshot.
type staging struct {
	position memdb.Position
	next     int
	rows     []memdb.Change
}

// add takes the next chunk; done says that the snapshot is whole. A chunk that
// does not fit what came before discards it all.
func (s *staging) add(c chunk) (done bool, err error) {
	if c.Index == 0 {
		*s = staging{position: c.Position}
	}
	if c.Index != s.next || c.Position != s.position {
		err = errs.New(errs.Conflict, "chunk %d at %v of a snapshot comes where chunk %d at %v is due; begin again", c.Index, c.Position, s.next, s.position)
		*s = staging{}
		return false, err
	}
	if len(s.rows)+len(c.Rows) > maxStagedRows {
		*s = staging{}
		return false, errs.New(errs.TooLarge, "a snapshot has more than %d rows", maxStagedRows)
	}
	s.next++
	s.rows = append(s.rows, c.Rows...)
	return c.Last, nil
}

// hearing is how far a peer's events were heard.
type hearing struct {
	incarnation uint64
	seq         uint64
}

// receiver takes what peers send.
type receiver struct {
	cfg Config

	mu     sync.Mutex
	staged map[string]*staging   // by peer
	heard  map[string]hearing    // by origin
	given  map[[2]string][]chunk // by peer and origin: the snapshot being pulled
}

// Inline names the methods that must be handled in the order in which they
// came.
func (r *Replicator) Inline(method string) bool {
	return slices.Contains([]string{pushMethod, snapshotMethod, eventsMethod}, method)
}

// Handle answers a peer.
func (r *Replicator) Handle(_ context.Context, from, method string, params json.RawMessage) (any, error) {
	switch method {
	case pushMethod:
		return handle(from, params, r.receiver.push)
	case snapshotMethod:
		return handle(from, params, r.receiver.snapshot)
	case eventsMethod:
		return handle(from, params, r.receiver.events)
	case pullMethod:
		return handle(from, params, r.receiver.pull)
	default:
		return nil, errs.New(errs.MethodNotFound, "no method %q of replication; the nodes may be of different versions", method)
	}
}

func handle[P, R any](from string, params json.RawMessage, f func(from string, p P) (R, error)) (any, error) {
	var p P
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "node %s sent what cannot be read", from)
	}
	return f(from, p)
}

func (r *receiver) push(from string, p push) (reached, error) {
	at, err := r.cfg.DB.Apply(from, p.Incarnation, p.From, p.Changes)
	return reached{at}, err
}

// snapshot takes a chunk. A peer pushes its own rows only.
func (r *receiver) snapshot(from string, c chunk) (reached, error) {
	if c.Origin != from {
		return reached{}, errs.New(errs.Forbidden, "node %s sent the rows of %s, which it does not own", from, c.Origin)
	}
	r.mu.Lock()
	s := r.staged[from]
	if s == nil {
		s = &staging{}
		r.staged[from] = s
	}
	done, err := s.add(c)
	if done || err != nil {
		delete(r.staged, from)
	}
	r.mu.Unlock()
	if err != nil || !done {
		return reached{r.cfg.DB.Digest()[from]}, err
	}
	at, err := r.cfg.DB.Install(from, s.position, s.rows)
	return reached{at}, err
}

// pull answers with a chunk of a third origin's rows, as they were when the
// first chunk was asked for: otherwise rows that change faster than they can be
// sent would never arrive.
func (r *receiver) pull(from string, p pull) (chunk, error) {
	key := [2]string{from, p.Origin}
	r.mu.Lock()
	list := r.given[key]
	r.mu.Unlock()
	if p.Index == 0 {
		position, rows, err := r.cfg.DB.Rows(p.Origin)
		if err != nil {
			return chunk{}, err
		}
		list = chunks(p.Origin, position, rows)
	}
	if p.Index < 0 || p.Index >= len(list) {
		return chunk{}, errs.New(errs.Conflict, "no snapshot of %s with a chunk %d is being pulled by %s; begin again", p.Origin, p.Index, from)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.given[key] = list; list[p.Index].Last {
		delete(r.given, key)
	}
	return list[p.Index], nil
}

// forget drops what is held for a peer that cannot be called any more.
func (r *receiver) forget(peer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.staged, peer)
	for key := range r.given {
		if key[0] == peer {
			delete(r.given, key)
		}
	}
}

// events takes a peer's events, each once and in order.
func (r *receiver) events(from string, p publication) (heard, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, known := r.heard[from]
	known = known && h.incarnation == p.Incarnation
	if !known {
		h = hearing{p.Incarnation, p.From}
		r.heard[from] = h
	}
	if len(p.Events) == 0 && p.Missed == 0 {
		return heard{known, h.seq}, nil // asked where we stand
	}
	fresh, missed := p.fresh(h.seq)
	if len(fresh) > 0 || missed > 0 {
		r.cfg.OnEvents(from, p.Incarnation, missed, fresh)
	}
	h.seq = max(h.seq, p.From+p.Missed+uint64(len(p.Events)))
	r.heard[from] = h
	return heard{known, h.seq}, nil
}

// fresh returns the events behind seq, and how many were lost before them.
func (p publication) fresh(seq uint64) (events []json.RawMessage, missed uint64) {
	first := p.From + p.Missed // the number before the first event
	if seq >= first {
		return p.Events[min(seq-first, uint64(len(p.Events))):], 0
	}
	return p.Events, first - seq
}
