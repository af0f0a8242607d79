package replication

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Caller calls a method of another node.
type Caller interface {
	Call(ctx context.Context, node, method string, params, result any) error
}

// Config is what a [Replicator] needs.
type Config struct {
	Self   string
	DB     *memdb.DB
	Caller Caller
	// Events are this node's own, for the peers.
	Events *journal.Journal[json.RawMessage]
	// OnEvents gets each peer's, in its order; missed is how many before them
	// were lost.
	OnEvents func(origin string, incarnation, missed uint64, events []json.RawMessage)
	Log      *slog.Logger
}

// Replicator is one node's part in the replication. All methods may be called
// from several goroutines at once.
type Replicator struct {
	cfg      Config
	receiver receiver

	mu      sync.Mutex
	ctx     context.Context // Run's; nil before and after
	links   map[string]*link
	wg      sync.WaitGroup
	changed chan struct{} // closed and replaced at each acknowledgement and each change of links
}

// New returns a replicator; it starts nothing.
func New(cfg Config) *Replicator {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Replicator{
		cfg: cfg, links: map[string]*link{}, changed: make(chan struct{}),
		receiver: receiver{cfg: cfg, staged: map[string]*staging{}, heard: map[string]hearing{}, given: map[[2]string][]chunk{}},
	}
}

// Run serves the links until ctx ends, and returns when all it started has
// ended.
func (r *Replicator) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	for _, l := range r.links {
		r.serve(l)
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	r.ctx = nil
	for _, l := range r.links {
		l.stop()
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

// Up says that a peer, in this incarnation, can be called, and what it knows.
func (r *Replicator) Up(node string, incarnation uint64, digest memdb.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.links[node]; old != nil {
		old.stop()
	}
	l := &link{r: r, node: node, incarnation: incarnation, wanted: make(chan memdb.Digest, 1)}
	if at := digest[r.cfg.Self]; at.Incarnation == r.incarnation() {
		l.acked = at.Seq
	}
	l.wanted <- digest
	r.links[node] = l
	r.serve(l)
	r.announce()
}

// Down says that a peer can no longer be called.
func (r *Replicator) Down(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.links[node]; l != nil {
		l.stop()
		delete(r.links, node)
		r.receiver.forget(node)
		r.announce()
	}
}

// serve starts a link's loops if Run runs. The caller holds mu.
func (r *Replicator) serve(l *link) {
	if r.ctx == nil {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	l.cancel = cancel
	r.wg.Go(func() { l.sendChanges(ctx) })
	r.wg.Go(func() { l.sendEvents(ctx) })
	r.wg.Go(func() { l.pullMissing(ctx) })
}

// announce wakes those who wait for acknowledgements. The caller holds mu.
func (r *Replicator) announce() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// incarnation is this node's own, as the state has it.
func (r *Replicator) incarnation() uint64 { return r.cfg.DB.Digest()[r.cfg.Self].Incarnation }

// Saw takes what a peer says it knows.
func (r *Replicator) Saw(node string, digest memdb.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.links[node]
	if l == nil {
		return
	}
	// What was behind at the last look too is not on its way: ask for it.
	missing := l.seen
	l.seen = digest
	if missing == nil || r.cfg.DB.Digest().Covers(missing) {
		return
	}
	select {
	case l.wanted <- digest:
	default: // it is being pulled already
	}
}

// Acked returns how far each linked peer has acknowledged this node's changes.
func (r *Replicator) Acked() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	acked := map[string]uint64{}
	for node, l := range r.links {
		acked[node] = l.acked
	}
	return acked
}

// WaitAcked waits until every node that needed names has acknowledged this
// node's changes up to seq. needed is asked again after every change, so that
// a node that dies meanwhile is not waited for. If the context ends first, its
// error and the nodes that are missing are returned.
func (r *Replicator) WaitAcked(ctx context.Context, seq uint64, needed func() []string) (missing []string, err error) {
	recheck := time.NewTicker(recheckEvery)
	defer recheck.Stop()
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		acked := r.Acked()
		missing = missing[:0]
		for _, node := range needed() {
			if node != r.cfg.Self && acked[node] < seq {
				missing = append(missing, node)
			}
		}
		if len(missing) == 0 {
			return nil, nil
		}
		select {
		case <-changed:
		case <-recheck.C: // the needed may have changed
		case <-ctx.Done():
			return missing, ctx.Err()
		}
	}
}

// recheckEvery is how often WaitAcked asks who is needed when nothing else
// happens.
const recheckEvery = 50 * time.Millisecond
