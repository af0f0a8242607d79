package replica

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/cluster/replication"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// callTimeout bounds one message to a peer.
const callTimeout = 5 * time.Second

// Caller calls a method of another node.
type Caller interface {
	Call(ctx context.Context, node, method string, params, result any) error
}

// Replica is the shell around a [Core]: it keeps the time, calls the peers and
// lets callers wait. All methods may be called from several goroutines at once.
type Replica struct {
	caller Caller
	db     *memdb.DB
	wake   chan struct{} // one token: the next tick may be due sooner
	wg     sync.WaitGroup

	// What callers ask for is queued, and whoever comes while nobody serves the
	// queue does: requests that come together are one step, and go in one message.
	queued struct {
		sync.Mutex
		requests []func(now time.Time)
		served   bool
	}

	mu      sync.Mutex
	ctx     context.Context // Run's; nil before and after
	core    *Core
	early   []Call // what was to be asked before Run ran
	lastID  uint64
	waiters map[uint64]chan registry.Done
}

// New returns a replica; it starts nothing.
func New(cfg Config, caller Caller) *Replica {
	return &Replica{caller: caller, db: cfg.DB, core: NewCore(cfg), wake: make(chan struct{}, 1), waiters: map[uint64]chan registry.Done{}}
}

// Run serves until ctx ends, and returns when all it started has ended.
func (r *Replica) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	for _, call := range r.early {
		r.call(call)
	}
	r.early = nil
	r.mu.Unlock()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(r.untilNext())
		select {
		case <-timer.C:
			r.step(func(now time.Time) { r.core.Tick(now) })
		case <-r.wake:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	r.ctx = nil
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

func (r *Replica) untilNext() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.core.Next(); !at.IsZero() {
		return max(0, time.Until(at))
	}
	return time.Hour
}

// step lets the core do something and carries out what it wants.
func (r *Replica) step(f func(now time.Time)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.core.Next()
	f(time.Now())
	calls, done := r.core.Take()
	for _, call := range calls {
		r.call(call)
	}
	for _, d := range done {
		if w := r.waiters[d.ID]; w != nil {
			w <- d
			delete(r.waiters, d.ID)
		}
	}
	if at := r.core.Next(); !at.IsZero() && (before.IsZero() || at.Before(before)) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// call asks a peer. The caller holds mu.
func (r *Replica) call(c Call) {
	ctx := r.ctx
	if ctx == nil {
		r.early = append(r.early, c)
		return
	}
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		result := Result(c.Method)
		err := r.caller.Call(ctx, c.Peer, c.Method, replication.Encode(c.Params), result)
		r.step(func(now time.Time) { r.core.Answered(now, c, result, err) })
	})
}

// request runs a request of the core to its end. One that the caller gives up
// goes on until its deadline, and nobody hears of it.
func (r *Replica) request(ctx context.Context, begin func(now time.Time, id uint64)) (registry.Done, error) {
	w := make(chan registry.Done, 1)
	var id uint64 // guarded by mu
	r.enqueue(func(now time.Time) {
		r.lastID++
		id = r.lastID
		r.waiters[id] = w
		begin(now, id)
	})
	select {
	case d := <-w:
		return d, d.Err
	case <-ctx.Done():
		r.mu.Lock()
		delete(r.waiters, id)
		r.mu.Unlock()
		select {
		case d := <-w:
			return d, d.Err
		default:
			return registry.Done{}, ctx.Err()
		}
	}
}

// enqueue has something done soon, by this goroutine or by the one that serves
// the queue already.
func (r *Replica) enqueue(f func(now time.Time)) {
	q := &r.queued
	q.Lock()
	q.requests = append(q.requests, f)
	if q.served {
		q.Unlock()
		return
	}
	q.served = true
	for len(q.requests) > 0 {
		requests := q.requests
		q.requests = nil
		q.Unlock()
		r.step(func(now time.Time) {
			r.core.Together(now, func() {
				for _, f := range requests {
					f(now)
				}
			})
		})
		q.Lock()
	}
	q.served = false
	q.Unlock()
}

// settleIn is how long before a caller's deadline a request gives up by itself,
// so that its own words arrive; of little time it is a quarter.
const settleIn = 20 * time.Millisecond

// deadline is when a request is over: a little before its caller's context is, or
// a call to a peer would be.
func deadline(ctx context.Context) time.Time {
	at, ok := ctx.Deadline()
	if !ok {
		return time.Now().Add(callTimeout - settleIn)
	}
	return at.Add(-max(0, min(settleIn, time.Until(at)/4)))
}

// Register registers a name for this node or one of its processes, and returns
// when all members have acknowledged that. created is false if the same holder
// had it already with the same value. Kinds: name_taken (naming the holder),
// conflict (the same holder, another value), node_unavailable (a node that may
// hold it cannot be asked), timeout (it may have happened), bad_parameter.
func (r *Replica) Register(ctx context.Context, in registry.Register) (claim memdb.Claim, created bool, err error) {
	in.Deadline = deadline(ctx)
	d, err := r.request(ctx, func(now time.Time, id uint64) {
		in.ID = id
		r.core.Register(now, in)
	})
	return d.Claim, d.Created, err
}

// Unregister gives up a name that this node holds, and returns when all members
// have acknowledged that. Kinds: not_found, timeout (it has happened here).
func (r *Replica) Unregister(ctx context.Context, name, why string) error {
	_, err := r.request(ctx, func(now time.Time, id uint64) {
		r.core.Unregister(now, registry.Unregister{ID: id, Name: name, Why: why, Deadline: deadline(ctx)})
	})
	return err
}

// Lookup returns who holds a name. Kinds: not_found, node_unavailable, timeout.
func (r *Replica) Lookup(ctx context.Context, name string, consistent bool) (memdb.Claim, error) {
	if !consistent {
		if best, found := r.db.View().Holder(name); !found {
			return memdb.Claim{}, registry.NotRegistered(name)
		} else if best.Confirmed {
			return best.Claim, nil
		}
	}
	d, err := r.request(ctx, func(now time.Time, id uint64) {
		r.core.Lookup(now, registry.Lookup{ID: id, Name: name, Consistent: consistent, Deadline: deadline(ctx)})
	})
	return d.Claim, err
}

// Update changes this node's own rows and sends the changes to all.
func (r *Replica) Update(f func(tx *memdb.Tx) error) (position memdb.Position, err error) {
	r.step(func(now time.Time) { position, err = r.core.Update(now, f) })
	return position, err
}

// Ended gives up the names of a process that has ended.
func (r *Replica) Ended(pid, why string) {
	r.step(func(now time.Time) { r.core.Ended(now, pid, why) })
}

// Grew says that a feed has.
func (r *Replica) Grew() { r.step(func(now time.Time) { r.core.Grew(now) }) }

// Acknowledged waits until all members that are alive, or suspected and not yet
// judged, have this node's rows as they are now. If ctx ends first the error
// names those that are missing.
func (r *Replica) Acknowledged(ctx context.Context) error {
	seq := r.db.Log().Last()
	_, err := r.request(ctx, func(now time.Time, id uint64) { r.core.Await(now, id, seq) })
	if err == nil {
		return nil
	}
	r.mu.Lock()
	missing := r.core.Missing(seq)
	r.mu.Unlock()
	slices.Sort(missing)
	return errs.Wrap(errs.Timeout, err, "done here, but not acknowledged by %v; they will know when they answer again", missing)
}

// Awaited names the members that take part in decisions now: those that are alive,
// or suspected and not yet judged.
func (r *Replica) Awaited() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.core.awaited))
}

// Acked returns how far each member has acknowledged this node's changes.
func (r *Replica) Acked() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	acked := map[string]uint64{}
	for node := range maps.Keys(r.core.members) {
		if r.core.repl.Linked(node) != 0 {
			acked[node] = r.core.Acked(node)
		}
	}
	return acked
}

// Inline names the methods that are handled as they come: those that need their
// order, and questions about names. They are one quick step, and must be answered
// however many requests of the peer wait for something.
func (r *Replica) Inline(method string) bool { return Ordered(method) || method == registry.AskMethod }

// Handles reports whether a method is one of this package's.
func Handles(method string) bool { return Params(method) != nil }

// Handle answers a peer.
func (r *Replica) Handle(_ context.Context, from, method string, raw json.RawMessage) (result any, err error) {
	params, err := decode(method, raw)
	if params == nil {
		return nil, errs.New(errs.MethodNotFound, "no method %q of the replicas; the nodes may be of different versions", method)
	}
	if err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "node %s sent what cannot be read", from)
	}
	r.step(func(now time.Time) { result, err = r.core.Handle(now, from, params) })
	return result, err
}

// decode reads the parameters of a method; nil for one that is none of this
// package's.
func decode(method string, raw json.RawMessage) (any, error) {
	params := Params(method)
	if params == nil {
		return nil, nil
	}
	if replication.Params(method) != nil {
		return replication.Decode(method, raw)
	}
	return params, json.Unmarshal(raw, params)
}

// Digest implements [cluster.Replica], as the methods below do.
func (r *Replica) Digest() memdb.Digest { return r.db.Digest() }

// SetIncarnation takes a higher one.
func (r *Replica) SetIncarnation(incarnation uint64) {
	r.step(func(time.Time) { r.core.SetIncarnation(incarnation) })
}

// Saw takes what a peer says it has applied.
func (r *Replica) Saw(peer string, digest memdb.Digest) {
	r.step(func(now time.Time) { r.core.Saw(now, peer, digest) })
}

// Up says that a peer has been connected.
func (r *Replica) Up(peer string, info cluster.Info) {
	r.step(func(now time.Time) { r.core.Up(now, peer, info) })
}

// Down says that a peer is not connected any more.
func (r *Replica) Down(peer string) { r.step(func(now time.Time) { r.core.Down(now, peer) }) }

// Told takes an event of the membership.
func (r *Replica) Told(e cluster.Event) { r.step(func(now time.Time) { r.core.Told(now, e) }) }

// Members says how this node sees the others.
func (r *Replica) Members(members []cluster.Member) {
	r.step(func(now time.Time) { r.core.Members(now, members) })
}
