package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/rpc"
)

// Handler answers node-to-node methods that are not the cluster's own.
type Handler interface {
	Handle(ctx context.Context, from, method string, params json.RawMessage) (any, error)
}

// Replica is what membership needs of replication: what this node has applied,
// and whom it can replicate with.
type Replica interface {
	Digest() memdb.Digest
	// SetIncarnation comes before anything is sent in it.
	SetIncarnation(incarnation uint64)
	// Saw brings what a peer says it has applied.
	Saw(peer string, digest memdb.Digest)
	// Up and Down say that a peer can, and cannot, be called any more. They
	// come in order and must not wait.
	Up(peer string, info Info)
	Down(peer string)
	// Members says how this node sees all, itself included, whenever a state or
	// a reach has changed.
	Members(members []Member)
}

// Options are what a [Cluster] works with.
type Options struct {
	Transport rpc.Transport
	Breaker   Breaker      // between this node and its peers; nil breaks nothing
	Listener  net.Listener // for nodes and for JSON-RPC clients; the cluster closes it
	Secret    []byte       // shared by all nodes; may be empty
	Replica   Replica
	Node      Handler                  // answers the nodes' other methods
	Inline    func(method string) bool // which of them must be handled in order; nil: none
	// Waits tells which of them may wait long for something that need not come: a
	// peer may have a bounded number of those at work here. nil: none.
	Waits   func(method string, params json.RawMessage) bool
	Client  rpc.Handler // answers connections that are no node's
	OnEvent func(Event) // in order; must not wait
	RPC     rpc.Config  // bounds of the connections; zero means the defaults
	Log     *slog.Logger
}

// Cluster is this node's part of the cluster. Make it with [New].
type Cluster struct {
	cfg  Config
	opts Options
	id   rpc.Identity
	hash uint64 // of the peer list
	rand *rand.Rand

	ctx      context.Context // of Run
	cancel   context.CancelCauseFunc
	wg       sync.WaitGroup
	opened   chan struct{}
	accepted atomic.Int64  // accepted connections
	wake     chan struct{} // one token: the outbox or the next tick has changed

	mu      sync.Mutex
	core    *Core
	outbox  []Output
	links   map[string]*link
	hashes  map[string]uint64 // the peers' peer lists
	leaving bool
	refusal map[string]string // newest logged reason, by peer
	waits   map[string]int    // requests at work that may wait long, by the peer that sent them
	seen    []Member          // what the replica was told; the loop's own
}

// New makes this node's part; it starts nothing. Configuration errors name the
// field.
func New(cfg Config, o Options) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Inline == nil {
		o.Inline = func(string) bool { return false }
	}
	if o.Waits == nil {
		o.Waits = func(string, json.RawMessage) bool { return false }
	}
	if o.Breaker == nil {
		o.Breaker = whole{}
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	c := &Cluster{
		cfg: cfg, opts: o, rand: r, id: rpc.Identity{Cluster: cfg.Cluster, Node: cfg.Self, Secret: o.Secret},
		hash: peersHash(cfg), opened: make(chan struct{}), wake: make(chan struct{}, 1),
		core: NewCore(cfg, time.Now(), r), links: map[string]*link{}, hashes: map[string]uint64{}, refusal: map[string]string{}, waits: map[string]int{},
	}
	o.Replica.SetIncarnation(c.core.Incarnation())
	return c, nil
}

// peersHash is equal on nodes that were given the same names.
func peersHash(cfg Config) uint64 {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(cfg.Peers)) {
		if name < cfg.Self {
			fmt.Fprintf(h, "%s;", name)
		}
	}
	fmt.Fprintf(h, "%s;", cfg.Self)
	for _, name := range slices.Sorted(maps.Keys(cfg.Peers)) {
		if name > cfg.Self {
			fmt.Fprintf(h, "%s;", name)
		}
	}
	return h.Sum64() >> 11 // 53 bits: exact in JSON
}

// Run takes part until ctx ends, and returns when everything it started has
// ended. Its error says so if this node was superseded.
func (c *Cluster) Run(ctx context.Context) error {
	c.mu.Lock()
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.core = c.restarted()
	c.mu.Unlock()
	c.wg.Go(c.accept)
	c.loop(c.ctx)
	closeErr := c.opts.Listener.Close()
	for _, l := range c.allLinks() {
		l.close(errs.New(errs.ConnectionLost, "node %s ends", c.cfg.Self))
	}
	c.wg.Wait()
	if err := context.Cause(c.ctx); errors.As(err, new(*errs.Error)) {
		return err
	}
	if errors.Is(closeErr, net.ErrClosed) {
		return nil // Leave has closed it
	}
	return closeErr
}

// restarted is the core at the moment Run begins: what was not begun cannot be
// late.
func (c *Cluster) restarted() *Core {
	core := NewCore(c.cfg, time.Now(), c.rand)
	core.incarnation = c.core.incarnation
	return core
}

// joinPoll is how often a joining node looks whether it has caught up.
const joinPoll = 2 * time.Millisecond

// loop carries out what the core decides, and tells it the time.
func (c *Cluster) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	looked := time.Now()
	for ctx.Err() == nil {
		due := latest(c.due(), looked) // what is overdue was not asked for any earlier
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		looked = time.Now()
		if !looked.Before(due) { // however it was woken: after a pause all are ready at once
			c.tick(looked.Sub(due))
		}
		outbox := c.takeOutbox()
		c.tellMembers() // first: who hears that this node has joined may write at once
		for _, out := range outbox {
			c.do(out)
		}
	}
}

// tellMembers tells the replica how this node sees the others, if that has
// changed.
func (c *Cluster) tellMembers() {
	members := c.Members()
	same := func(a, b Member) bool {
		return a.State == b.State && a.Reach == b.Reach && a.Incarnation == b.Incarnation
	}
	if !slices.EqualFunc(members, c.seen, same) {
		c.seen = members
		c.opts.Replica.Members(members)
	}
}

// due is when the next tick is wanted.
func (c *Cluster) due() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	next := now.Add(c.cfg.PingEvery)
	if at := c.core.Next(); !at.IsZero() && at.Before(next) {
		next = at
	}
	if !c.core.Ready() {
		next = earliest(next, now.Add(joinPoll))
	}
	return next
}

// tolerance is how late a tick may come before the node doubts itself.
const tolerance = 50 * time.Millisecond

// tick tells the core the time. A late one means that this node was kept from
// running; then what has come meanwhile is read first.
func (c *Cluster) tick(late time.Duration) {
	if late < tolerance {
		late = 0
	}
	for name, l := range c.linksByName() {
		if at := l.heard(); !at.IsZero() {
			c.step(Heard{name, at})
		}
	}
	c.step(Tick{late})
	if late > 0 {
		c.opts.Log.Warn("this node was kept from running, deadlines are moved", "by", late.Round(time.Millisecond))
	}
	c.step(Applied{c.opts.Replica.Digest()})
}

// step gives the core an input. What it decides is carried out by the loop, in
// order.
func (c *Cluster) step(in Input) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stepLocked(in)
}

// stepLocked is step for who holds mu. A link that is given up leaves the table
// at once: a connection that is made before the loop comes to close it begins
// another one.
func (c *Cluster) stepLocked(in Input) {
	for _, out := range c.core.Step(time.Now(), in) {
		switch out := out.(type) {
		case Drop:
			if l := c.unlink(out.Peer); l != nil {
				c.outbox = append(c.outbox, hangUp{l, errs.New(errs.ConnectionLost, "%s", out.Why)})
			}
		case Forget:
			c.unlink(out.Peer)
		case Reborn:
			c.outbox = append(c.outbox, out)
			c.dropAll(errs.New(errs.ConnectionLost, "node %s took a higher incarnation", c.cfg.Self)) // they were told the lower one
		default:
			c.outbox = append(c.outbox, out)
		}
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Cluster) takeOutbox() []Output {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.outbox
	c.outbox = nil
	return out
}

// do carries out one decision without waiting for anything.
func (c *Cluster) do(out Output) {
	switch out := out.(type) {
	case Dial:
		c.wg.Go(func() { c.dial(out) })
	case Ping:
		c.wg.Go(func() { c.ping(out) })
	case Ask:
		for _, member := range out.Members {
			c.wg.Go(func() { c.ask(member, out.About) })
		}
	case linkUp:
		c.opts.Replica.Up(out.peer, out.info)
	case linkDown:
		c.opts.Replica.Down(out.peer)
	case hangUp:
		out.link.close(out.why)
	case Emit:
		c.opts.Log.Info(string(out.Event.Type), "member", out.Event.Member, "why", out.Event.Why)
		c.opts.OnEvent(out.Event)
	case Open:
		c.opts.Log.Info("joined the cluster", "node", c.cfg.Self, "incarnation", c.Self().Incarnation)
		close(c.opened)
	case Reborn:
		c.opts.Log.Info("took a higher incarnation than peers know of this name", "incarnation", out.Incarnation)
		c.opts.Replica.SetIncarnation(out.Incarnation)
	case Superseded:
		c.cancel(errs.New(errs.Conflict, "%s", out.Why))
	}
}

// Ready is closed once this node has joined.
func (c *Cluster) Ready() <-chan struct{} { return c.opened }

// Members returns all members as this node sees them, itself included, sorted
// by name.
func (c *Cluster) Members() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Members(time.Now())
}

// reachOf is how this node gets to another one.
func (c *Cluster) reachOf(node string) Reach {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.ReachOf(time.Now(), node)
}

// Self returns this node as a member.
func (c *Cluster) Self() Member { return c.member(c.cfg.Self) }

func (c *Cluster) member(name string) Member {
	for _, m := range c.Members() {
		if m.Name == name {
			return m
		}
	}
	return Member{}
}

// Differing returns the peers that were given another list of peers than this
// node.
func (c *Cluster) Differing() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.hashes)) {
		if c.hashes[name] != c.hash {
			names = append(names, name)
		}
	}
	return names
}

// LinkStats returns the figures of the connections this node calls its peers
// by.
func (c *Cluster) LinkStats() map[string]rpc.Stats {
	stats := map[string]rpc.Stats{}
	for name, l := range c.linksByName() {
		if conn := l.conn(); conn != nil {
			stats[name] = conn.Stats()
		}
	}
	return stats
}
