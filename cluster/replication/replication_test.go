package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/memdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a few nodes with real state and events, whose links can be cut.
type world struct {
	t     *testing.T
	nodes map[string]*node
	names []string
	delay time.Duration

	mu    sync.Mutex
	cut   map[[2]string]bool
	calls map[string]int // by method
	sizes []int          // of the changes in each push that had some
}

type node struct {
	*Replicator
	name   string
	db     *memdb.DB
	events *event.Log
	inline sync.Mutex
	stop   context.CancelFunc
	ended  chan struct{}
}

// newWorld starts n nodes that are not linked. It must run in a bubble.
func newWorld(t *testing.T, n int) *world {
	t.Helper()
	w := &world{t: t, nodes: map[string]*node{}, cut: map[[2]string]bool{}, calls: map[string]int{}, delay: time.Millisecond}
	for i := range n {
		w.start(fmt.Sprintf("n%d", i+1), 1)
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.end()
		}
	})
	return w
}

// start starts a node with nothing in its memory.
func (w *world) start(name string, incarnation uint64) *node {
	db, err := memdb.Open(name)
	require.NoError(w.t, err)
	require.NoError(w.t, db.SetIncarnation(incarnation))
	n := &node{name: name, db: db, ended: make(chan struct{})}
	n.events = event.NewLog(name, incarnation, 10_000, time.Now, slog.New(slog.DiscardHandler))
	n.Replicator = New(Config{Self: name, DB: db, Caller: way{w, name}, Events: n.events.Out(), OnEvents: n.events.Receive})
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go func() {
		defer close(n.ended)
		_ = n.Run(ctx)
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[name] = n
	if !slices.Contains(w.names, name) {
		w.names = append(w.names, name)
	}
	return n
}

func (n *node) end() {
	n.stop()
	<-n.ended
}

func (n *node) incarnationNow() uint64 { return n.db.Digest()[n.name].Incarnation }

// link connects two nodes as membership does.
func (w *world) link(a, b string) {
	w.setCut(a, b, false)
	for _, way := range [][2]*node{{w.nodes[a], w.nodes[b]}, {w.nodes[b], w.nodes[a]}} {
		from, to := way[0], way[1]
		require.NoError(w.t, from.db.Drop(to.name, to.incarnationNow()))
		require.NoError(w.t, from.db.Show(to.name, to.db.Digest()[to.name]))
		from.Up(to.name, to.incarnationNow(), to.db.Digest())
	}
}

func (w *world) linkAll() {
	for i, a := range w.names {
		for _, b := range w.names[:i] {
			w.link(a, b)
		}
	}
}

func (w *world) setCut(a, b string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]string{a, b}], w.cut[[2]string{b, a}] = cut, cut
}

// unlink cuts a link, and both sides notice.
func (w *world) unlink(a, b string) {
	w.setCut(a, b, true)
	w.nodes[a].Down(b)
	w.nodes[b].Down(a)
}

// gossip does what pings do: everybody tells his linked peers what he knows.
func (w *world) gossip() {
	for range 2 {
		for _, a := range w.names {
			for _, b := range w.names {
				if a != b && !w.isCut(a, b) {
					w.nodes[a].Saw(b, w.nodes[b].db.Digest())
				}
			}
		}
		time.Sleep(time.Second)
	}
}

func (w *world) isCut(a, b string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[[2]string{a, b}]
}

// way is a node's Caller: what is sent travels as JSON and takes its time, and
// is lost where a link is cut.
type way struct {
	w    *world
	from string
}

func (c way) Call(ctx context.Context, to, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	if err := c.travel(ctx, to); err != nil {
		return err
	}
	c.w.note(method, params)
	peer := c.w.peer(to)
	if peer.Inline(method) {
		peer.inline.Lock()
	}
	answer, err := peer.Handle(ctx, c.from, method, raw)
	if peer.Inline(method) {
		peer.inline.Unlock()
	}
	if err != nil {
		return err
	}
	if raw, err = json.Marshal(answer); err != nil {
		return err
	}
	if err := c.travel(ctx, to); err != nil {
		return err
	}
	return json.Unmarshal(raw, result)
}

func (c way) travel(ctx context.Context, to string) error {
	select {
	case <-time.After(c.w.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.w.isCut(c.from, to) {
		return errs.New(errs.NodeUnavailable, "cut")
	}
	return nil
}

func (w *world) peer(name string) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[name]
}

func (w *world) note(method string, params any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[method]++
	if p, ok := params.(push); ok && len(p.Changes) > 0 {
		w.sizes = append(w.sizes, len(p.Changes))
	}
}

// called is how often a method was called.
func (w *world) called(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[method]
}

// pushes are the sizes of the pushes that carried changes.
func (w *world) pushes() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sizes)
}

// write stores sandboxes of a node.
func (n *node) write(t *testing.T, ids ...string) memdb.Position {
	t.Helper()
	var last memdb.Position
	for _, id := range ids {
		position, err := n.db.Update(func(tx *memdb.Tx) error {
			return tx.PutSandbox(memdb.Sandbox{ID: id, Node: n.name, Status: memdb.SandboxRunning})
		})
		require.NoError(t, err)
		last = position
	}
	return last
}

func (n *node) sees() string {
	list := []string{}
	for _, s := range n.db.View().Sandboxes() {
		list = append(list, s.Node+"/"+s.ID)
	}
	return strings.Join(list, " ")
}

// hears is the events a node shows, in its order.
func (n *node) hears(t *testing.T) []string {
	t.Helper()
	page, err := n.events.Read(t.Context(), "", event.Filter{}, 1<<20, false)
	require.NoError(t, err)
	list := []string{}
	for _, e := range page.Events {
		list = append(list, e.Type+" "+e.Subject+string(e.Data))
	}
	return list
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestChangesReachAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.nodes["n1"].write(t, "before")
		w.linkAll()
		w.nodes["n2"].write(t, "after")
		time.Sleep(time.Second)
		for _, n := range w.nodes {
			require.Equal(t, "n2/after n1/before", n.sees())
		}
		require.Equal(t, map[string]uint64{"n2": 1, "n3": 1}, w.nodes["n1"].Acked())
	})
}

// TestOneBatchInFlight: what piles up while one travels goes as the next.
func TestOneBatchInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.delay = 50 * time.Millisecond
		w.linkAll()
		time.Sleep(time.Second)
		for i := range 100 {
			w.nodes["n1"].write(t, fmt.Sprintf("s%03d", i))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		require.Equal(t, w.nodes["n1"].sees(), w.nodes["n2"].sees())
		require.LessOrEqual(t, len(w.pushes()), 3, "%v", w.pushes())
	})
}

// TestCatchUp: a peer that was away gets what it missed, from the log if that
// reaches back, as a snapshot in chunks if not.
func TestCatchUp(t *testing.T) {
	for name, missed := range map[string]int{"by changes": 20, "by a snapshot": 9000} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, 2)
				w.linkAll()
				w.nodes["n1"].write(t, "first")
				time.Sleep(time.Second)
				w.unlink("n1", "n2")
				_, err := w.nodes["n1"].db.Update(func(tx *memdb.Tx) error {
					for i := range missed {
						if err := tx.PutSandbox(memdb.Sandbox{ID: fmt.Sprintf("s%d", i%1500), Node: "n1"}); err != nil {
							return err
						}
					}
					return nil
				})
				require.NoError(t, err)
				time.Sleep(time.Second)
				require.Equal(t, "n1/first", w.nodes["n2"].sees())
				w.link("n1", "n2")
				time.Sleep(2 * time.Second)
				require.Equal(t, w.nodes["n1"].sees(), w.nodes["n2"].sees())
				require.Equal(t, missed > 8192, w.called(snapshotMethod) > 1)
			})
		})
	}
}

// TestAThirdTells what a node that is gone has said, in as many chunks as it
// takes.
func TestAThirdTells(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.link("n1", "n2")
		for i := range 1200 {
			w.nodes["n1"].write(t, fmt.Sprintf("s%d", i))
		}
		time.Sleep(time.Second)
		w.unlink("n1", "n2")
		w.link("n2", "n3")
		w.gossip()
		require.Equal(t, w.nodes["n1"].sees(), w.nodes["n3"].sees())
		require.GreaterOrEqual(t, w.called(pullMethod), 3)
	})
}

// TestPullOfRowsThatChange: they arrive although they change faster than their
// chunks can be sent.
func TestPullOfRowsThatChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.link("n1", "n2")
		w.link("n2", "n3")
		var ids []string
		for i := range 1500 { // three chunks
			ids = append(ids, fmt.Sprintf("s%d", i))
		}
		w.nodes["n1"].write(t, ids...)
		time.Sleep(time.Second)
		stop := make(chan struct{})
		var writing sync.WaitGroup
		writing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					w.nodes["n1"].write(t, ids[i%len(ids)])
				}
			}
		})
		w.gossip()
		w.gossip()
		close(stop)
		writing.Wait()
		require.Len(t, w.nodes["n3"].db.View().Sandboxes(), len(ids))
		require.Empty(t, w.nodes["n2"].receiver.given, "what was pulled is not held any longer")
		_, err := w.nodes["n2"].Handle(t.Context(), "n3", pullMethod, json.RawMessage(`{"origin":"n1"}`))
		require.NoError(t, err)
		require.Len(t, w.nodes["n2"].receiver.given, 1, "begun")
		w.unlink("n2", "n3")
		require.Empty(t, w.nodes["n2"].receiver.given, "and given up")
	})
}

// TestReborn: a node that comes back with an empty memory is believed, and its
// past is gone everywhere.
func TestReborn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.linkAll()
		w.nodes["n1"].write(t, "old1", "old2")
		w.nodes["n2"].write(t, "kept")
		time.Sleep(time.Second)
		w.nodes["n1"].end()
		w.nodes["n2"].Down("n1")
		w.nodes["n3"].Down("n1")
		w.start("n1", 2).write(t, "new")
		w.linkAll()
		time.Sleep(time.Second)
		w.gossip()
		for _, n := range w.nodes {
			require.Equal(t, "n2/kept n1/new", n.sees())
		}
	})
}

// TestWaitAcked waits for exactly those that are needed, asks again who that
// is, and names who is missing.
func TestWaitAcked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.linkAll()
		n1 := w.nodes["n1"]
		everybody := func() []string { return []string{"n1", "n2", "n3"} }
		missing, err := n1.WaitAcked(t.Context(), n1.write(t, "a").Seq, everybody)
		require.NoError(t, err)
		require.Empty(t, missing)
		require.Equal(t, "n1/a", w.nodes["n2"].sees(), "they have it when it returns")
		require.Equal(t, "n1/a", w.nodes["n3"].sees())

		w.setCut("n1", "n3", true)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		missing, err = n1.WaitAcked(ctx, n1.write(t, "b").Seq, everybody)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []string{"n3"}, missing)

		begun := time.Now()
		missing, err = n1.WaitAcked(t.Context(), n1.write(t, "c").Seq, func() []string {
			if time.Since(begun) < time.Second {
				return everybody()
			}
			return []string{"n1", "n2"} // n3 is judged dead
		})
		require.NoError(t, err)
		require.Empty(t, missing)
		require.InDelta(t, time.Second, time.Since(begun), float64(2*recheckEvery))
	})
}

// TestEvents are told once each, in the origin's order, also when answers are
// lost on the way.
func TestEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.linkAll()
		time.Sleep(time.Second)
		random := rand.New(rand.NewPCG(1, 2))
		var want []string
		for i := range 300 {
			w.nodes["n1"].events.Publish(event.Event{Type: "E", Subject: fmt.Sprint(i)})
			want = append(want, fmt.Sprintf("E %d", i))
			time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
			w.setCut("n1", "n2", i%50 > 40) // too briefly to be noticed
		}
		w.setCut("n1", "n2", false)
		time.Sleep(10 * time.Second)
		require.Equal(t, want, w.nodes["n2"].hears(t))
		require.Equal(t, want, w.nodes["n3"].hears(t))
	})
}

// TestEventsAfterAnAbsence: a short one loses nothing; after a long one the
// peer is told how many are gone; who is new begins with what comes.
func TestEventsAfterAnAbsence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 2)
		say := func(from, to int) {
			for i := from; i <= to; i++ {
				w.nodes["n1"].events.Publish(event.Event{Type: "E", Subject: fmt.Sprint(i)})
			}
			time.Sleep(5 * time.Second)
		}
		say(1, 3)
		w.linkAll()
		time.Sleep(time.Second)
		say(4, 5)
		require.Equal(t, []string{"E 4", "E 5"}, w.nodes["n2"].hears(t), "who is new begins with what comes")
		w.unlink("n1", "n2")
		say(6, 7)
		w.link("n1", "n2")
		time.Sleep(time.Second)
		require.Equal(t, []string{"E 4", "E 5", "E 6", "E 7"}, w.nodes["n2"].hears(t))
		w.unlink("n1", "n2")
		say(8, 5000)
		w.link("n1", "n2")
		time.Sleep(5 * time.Second)
		heard := w.nodes["n2"].hears(t)
		require.Equal(t, `Gap n2{"missed":897}`, heard[4])
		require.Equal(t, "E 905", heard[5])
		require.Equal(t, "E 5000", heard[len(heard)-1])
		require.Len(t, heard, 4+1+4096)
	})
}

// TestStrangeMessages are refused, and change nothing.
func TestStrangeMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 2)
		n := w.nodes["n1"]
		row := `{"seq":1,"table":"sandboxes","id":"x","row":{"id":"x","node":"n2"}}`
		for what, tc := range map[string]struct {
			method, params string
			kind           errs.Kind
		}{
			"unknown method":       {"replication.nope", `{}`, errs.MethodNotFound},
			"no object":            {pushMethod, `[]`, errs.BadParameter},
			"ill-typed":            {pushMethod, `{"from":-1}`, errs.BadParameter},
			"a row of another":     {pushMethod, `{"changes":[{"seq":1,"table":"sandboxes","id":"x","row":{"id":"x","node":"n3"}}]}`, errs.Forbidden},
			"out of order":         {pushMethod, `{"changes":[` + row + `,` + row + `]}`, errs.BadParameter},
			"a snapshot of ours":   {snapshotMethod, `{"origin":"n1","last":true}`, errs.Forbidden},
			"a chunk out of order": {snapshotMethod, `{"origin":"n2","index":3}`, errs.Conflict},
			"no such chunk":        {pullMethod, `{"origin":"n1","index":7}`, errs.Conflict},
			"a negative chunk":     {pullMethod, `{"origin":"n1","index":-1}`, errs.Conflict},
			"events ill-typed":     {eventsMethod, `{"events":7}`, errs.BadParameter},
		} {
			_, err := n.Handle(t.Context(), "n2", tc.method, json.RawMessage(tc.params))
			require.Equal(t, tc.kind, errs.KindOf(err), "%s: %v", what, err)
		}
		require.Empty(t, n.sees())
		_, err := n.Handle(t.Context(), "n2", pushMethod, json.RawMessage(`{"changes":[`+row+`]}`))
		require.NoError(t, err)
		require.Equal(t, "n2/x", n.sees())
		// A chunk that changes on the way discards the snapshot.
		_, err = n.Handle(t.Context(), "n2", snapshotMethod, json.RawMessage(`{"origin":"n2","position":{"seq":9}}`))
		require.NoError(t, err)
		_, err = n.Handle(t.Context(), "n2", snapshotMethod, json.RawMessage(`{"origin":"n2","position":{"seq":10},"index":1,"last":true}`))
		require.Equal(t, errs.Conflict, errs.KindOf(err))
		require.Equal(t, "n2/x", n.sees())

		s := staging{}
		_, err = s.add(chunk{Rows: make([]memdb.Change, maxStagedRows+1)})
		require.Equal(t, errs.TooLarge, errs.KindOf(err))
	})
}

// liar answers every call the same.
type liar struct{ answer any }

func (l liar) Call(_ context.Context, _, _ string, _, result any) error {
	if err, ok := l.answer.(error); ok {
		return err
	}
	raw, err := json.Marshal(l.answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, result)
}

// TestLiars: a peer that answers nonsense does not stop the others, and is not
// asked without pause.
func TestLiars(t *testing.T) {
	for what, answer := range map[string]any{
		"an error":                errors.New("no"),
		"a future incarnation":    reached{memdb.Position{Incarnation: 99, Seq: 1}},
		"a chunk of another":      chunk{Origin: "n9", Last: true},
		"chunks without end":      chunk{Origin: "n3", Index: 0},
		"a number beyond the log": reached{memdb.Position{Incarnation: 1, Seq: 77}},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, 1)
				n := w.nodes["n1"]
				n.cfg.Caller = liar{answer}
				n.Up("n2", 1, memdb.Digest{"n3": {Incarnation: 1, Seq: 5}})
				n.write(t, "a")
				time.Sleep(time.Minute) // a loop without pause would never end it
				require.Equal(t, "n1/a", n.sees())
				n.Saw("n9", nil) // no link: nothing
			})
		})
	}
}

// TestTheyConverge: links that are cut and healed at random, a node that is
// reborn; in the end all show the same.
func TestTheyConverge(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				w := newWorld(t, 4)
				w.linkAll()
				for step := range 200 {
					a, b := w.names[random.IntN(4)], w.names[random.IntN(4)]
					switch random.IntN(6) {
					case 0:
						if a != b {
							w.unlink(a, b)
						}
					case 1:
						if a != b {
							w.link(a, b)
						}
					case 2:
						if step%40 == 0 {
							old := w.nodes[a]
							old.end()
							for _, n := range w.nodes {
								if n != old {
									n.Down(a)
								}
							}
							w.start(a, old.incarnationNow()+1)
						}
					default:
						w.nodes[a].write(t, fmt.Sprintf("%s-%d", a, random.IntN(9)))
					}
					time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
				}
				w.linkAll()
				time.Sleep(5 * time.Second)
				w.gossip()
				for _, n := range w.nodes {
					require.Equal(t, w.nodes["n1"].sees(), n.sees())
					require.Equal(t, w.nodes["n1"].db.Digest().Hash(), n.db.Digest().Hash())
				}
			})
		})
	}
}
