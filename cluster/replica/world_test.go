package replica

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/memdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deadAfter = 2500 * time.Millisecond

// world is some replicas that call each other in a bubble, a millisecond away.
// All messages travel as JSON. What membership says is said by hand.
type world struct {
	t     *testing.T
	names []string
	nodes map[string]*node

	under atomic.Int64 // how many calls are

	mu  sync.Mutex
	cut map[[2]string]bool // calls by these ways are never answered
}

type node struct {
	*Replica
	name string
	db   *memdb.DB
	told []registry.Event

	under atomic.Int64 // how many of its own calls are
	stop  func()
	done  chan struct{}
}

// caller calls by the world's ways.
type caller struct {
	w    *world
	from string
}

func (c caller) Call(ctx context.Context, peer, method string, params, result any) error {
	own := &c.w.nodes[c.from].under
	for _, under := range []*atomic.Int64{&c.w.under, own} {
		under.Add(1)
		defer under.Add(-1)
	}
	raw, err := jsontext.Marshal(params)
	if err != nil {
		return err
	}
	if c.w.isCut(c.from, peer) {
		<-ctx.Done()
		return errs.Wrap(errs.Timeout, ctx.Err(), "no answer of %s", peer)
	}
	time.Sleep(time.Millisecond)
	answer, err := c.w.nodes[peer].Handle(ctx, c.from, method, raw)
	if err != nil {
		return err
	}
	if raw, err = jsontext.Marshal(answer); err != nil {
		return err
	}
	return json.Unmarshal(raw, result)
}

func (w *world) isCut(a, b string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[[2]string{a, b}]
}

func (w *world) setCut(cut bool, names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]string{names[0], names[1]}], w.cut[[2]string{names[1], names[0]}] = cut, cut
}

// inBubble runs a test among replicas that see each other, and looks that nothing
// is left of them.
func inBubble(t *testing.T, test func(t *testing.T, w *world), names ...string) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, names: names, nodes: map[string]*node{}, cut: map[[2]string]bool{}}
		for _, name := range names {
			w.nodes[name] = w.make(name)
		}
		for _, name := range names {
			w.introduce(name)
			w.nodes[name].run()
		}
		synctest.Wait()
		test(t, w)
		for _, n := range w.nodes {
			n.stop()
			<-n.done
			require.Empty(t, n.waiters, "nobody waits at %s", n.name)
		}
		require.Zero(t, w.under.Load(), "no call is under way")
	})
}

func (w *world) make(name string) *node {
	db, err := memdb.Open(name)
	require.NoError(w.t, err)
	n := &node{name: name, db: db, done: make(chan struct{})}
	n.Replica = New(Config{Self: name, DB: db, DeadAfter: deadAfter, OnName: func(e registry.Event) { n.told = append(n.told, e) }}, caller{w, name})
	n.SetIncarnation(1)
	return n
}

// introduce says to a node what membership would: all others are alive.
func (w *world) introduce(name string) {
	n := w.nodes[name]
	for _, peer := range w.names {
		if peer != name {
			n.Up(peer, cluster.Info{Incarnation: 1, Digest: w.nodes[peer].Digest()})
		}
	}
	n.Members(w.members(name, cluster.Alive))
}

// members is how a node sees the others, all in one state since now.
func (w *world) members(name string, state cluster.State) (list []cluster.Member) {
	for _, peer := range w.names {
		m := cluster.Member{Name: peer, State: state, Reach: cluster.ReachDirect, Incarnation: 1, Since: time.Now(), Self: peer == name}
		list = append(list, m)
	}
	return list
}

func (n *node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go func() {
		defer close(n.done)
		_ = n.Run(ctx) // never fails
	}()
}

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
