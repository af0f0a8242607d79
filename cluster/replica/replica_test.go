package replica

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/cluster/replication"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

var shop = registry.Register{Name: "shop", Value: json.RawMessage(`{"port":1}`)}

// TestNames: what returned is seen everywhere.
func TestNames(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1, n2, n3 := w.nodes["n1"], w.nodes["n2"], w.nodes["n3"]
		claim, created, err := n1.Register(t.Context(), shop)
		require.NoError(t, err)
		require.True(t, created)
		for _, n := range w.nodes {
			for _, consistent := range []bool{false, true} {
				found, err := n.Lookup(t.Context(), "shop", consistent)
				require.NoError(t, err)
				require.Equal(t, claim, found)
			}
		}
		_, _, err = n2.Register(t.Context(), shop)
		require.Equal(t, errs.NameTaken, errs.KindOf(err))
		require.Equal(t, "n1", errs.From(err).Node)
		require.Equal(t, errs.NotFound, errs.KindOf(n2.Unregister(t.Context(), "shop", "")))
		require.NoError(t, n1.Unregister(t.Context(), "shop", "by request"))
		for _, consistent := range []bool{false, true} {
			_, err = n3.Lookup(t.Context(), "shop", consistent)
			require.Equal(t, errs.NotFound, errs.KindOf(err))
		}
		synctest.Wait()
		require.Len(t, n1.told, 2)
		require.Empty(t, n2.told)
	}, "n1", "n2", "n3")
}

// TestARaceOfMany: one gets the name, and all others are told who.
func TestARaceOfMany(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		type outcome struct {
			node string
			err  error
		}
		results := make(chan outcome)
		const each = 5
		for range each {
			for _, n := range w.nodes {
				go func() {
					_, _, err := n.Register(t.Context(), registry.Register{Name: "shop", Value: json.RawMessage(`"` + n.name + `"`)})
					results <- outcome{n.name, err}
				}()
			}
		}
		winners := map[string]bool{}
		var taken []string
		for range each * len(w.nodes) {
			if o := <-results; o.err == nil {
				winners[o.node] = true
			} else {
				require.Equal(t, errs.NameTaken, errs.KindOf(o.err), "%v", o.err)
				taken = append(taken, errs.From(o.err).Node)
			}
		}
		require.Len(t, winners, 1)
		for _, by := range taken {
			require.True(t, winners[by])
		}
	}, "n1", "n2", "n3")
}

// TestCancelled: who gives up is answered at once; what he asked for goes on until
// its time is over, and leaves nothing.
func TestCancelled(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.setCut(true, "n1", "n2")
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		go func() { _, _, err = w.nodes["n1"].Register(ctx, shop) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.ErrorIs(t, err, context.Canceled)
		_, has := w.nodes["n1"].db.View().Claim("shop", "n1")
		require.True(t, has)
		time.Sleep(callTimeout)
		synctest.Wait()
		_, has = w.nodes["n1"].db.View().Claim("shop", "n1")
		require.False(t, has)
	}, "n1", "n2")
}

// TestDeadlines: a request ends before its caller's time does, so that its own
// words arrive, and without one after a time of its own.
func TestDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1 := w.nodes["n1"]
		w.setCut(true, "n1", "n2")
		for name, ask := range map[string]func(ctx context.Context) error{
			"not settled in time": func(ctx context.Context) error { _, _, err := n1.Register(ctx, shop); return err },
			"looked":              func(ctx context.Context) error { _, err := n1.Lookup(ctx, "shop", true); return err },
		} {
			began := time.Now()
			ctx, cancel := within(time.Second)
			err := ask(ctx)
			cancel()
			require.Equal(t, errs.Timeout, errs.KindOf(err), name)
			require.False(t, errors.Is(err, context.DeadlineExceeded), name)
			require.Equal(t, time.Second-settleIn, time.Since(began), name)
			began = time.Now()
			require.Equal(t, errs.Timeout, errs.KindOf(ask(t.Context())), name)
			require.Equal(t, callTimeout-settleIn, time.Since(began), name)
		}
		ctx, cancel := within(time.Millisecond) // less than a request keeps for its words
		defer cancel()
		_, _, err := n1.Register(ctx, shop)
		require.Equal(t, errs.Timeout, errs.KindOf(err))
	}, "n1", "n2")
}

// TestLittleTime is enough where all answer at once.
func TestLittleTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1 := w.nodes["n1"]
		for _, little := range []time.Duration{5 * time.Millisecond, 10 * time.Millisecond, settleIn} {
			ctx, cancel := within(little)
			_, _, err := n1.Register(ctx, registry.Register{Name: little.String()})
			require.NoError(t, err)
			cancel()
			ctx, cancel = within(little)
			_, err = n1.Lookup(ctx, little.String(), true)
			require.NoError(t, err)
			cancel()
		}
	}, "n1", "n2")
}

// TestAcknowledged waits for all, and names those that are missing.
func TestAcknowledged(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1 := w.nodes["n1"]
		put := func() {
			_, err := n1.Update(func(tx *memdb.Tx) error { return tx.PutNode(memdb.Node{Name: "n1"}) })
			require.NoError(t, err)
		}
		put()
		require.NoError(t, n1.Acknowledged(t.Context()))
		require.Equal(t, map[string]uint64{"n2": 1, "n3": 1}, n1.Acked())
		w.setCut(true, "n1", "n3")
		put()
		ctx, cancel := within(time.Second)
		defer cancel()
		err := n1.Acknowledged(ctx)
		require.Equal(t, errs.Timeout, errs.KindOf(err))
		require.ErrorContains(t, err, "not acknowledged by [n3]")
		w.setCut(false, "n1", "n3")
		time.Sleep(callTimeout + time.Second)
		require.NoError(t, n1.Acknowledged(t.Context()))
	}, "n1", "n2", "n3")
}

// TestASuspectIsWaitedFor until it would be judged, and no longer.
func TestASuspectIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1 := w.nodes["n1"]
		w.setCut(true, "n1", "n2")
		n1.Members(w.members("n1", cluster.Suspect))
		began := time.Now()
		_, _, err := n1.Register(t.Context(), shop)
		require.NoError(t, err)
		require.Equal(t, deadAfter, time.Since(began))
	}, "n1", "n2")
}

// TestTheDead are hidden, what they held is free, and forgotten in the end.
func TestTheDead(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1, n2 := w.nodes["n1"], w.nodes["n2"]
		_, _, err := n2.Register(t.Context(), shop)
		require.NoError(t, err)
		n1.Down("n2")
		n1.Told(cluster.Event{Type: cluster.MemberFailed, Member: "n2", Incarnation: 1})
		n1.Members(w.members("n1", cluster.Dead))
		_, err = n1.Lookup(t.Context(), "shop", false)
		require.Equal(t, errs.NotFound, errs.KindOf(err))
		require.Equal(t, 1, n1.db.View().Len(), "it is kept, should it come back")
		time.Sleep(ForgetAfter)
		synctest.Wait()
		require.Zero(t, n1.db.View().Len())

		n1.Up("n2", cluster.Info{Incarnation: 1, Digest: n2.Digest()})
		n2.Up("n1", cluster.Info{Incarnation: 1, Digest: n1.Digest()})
		n1.Members(w.members("n1", cluster.Alive))
		time.Sleep(time.Second)
		found, err := n1.Lookup(t.Context(), "shop", false)
		require.NoError(t, err)
		require.Equal(t, "n2", found.Node)
		n1.Told(cluster.Event{Type: cluster.MemberLeft, Member: "n2", Incarnation: 1})
		require.Zero(t, n1.db.View().Len())
	}, "n1", "n2")
}

// TestAnEarlierLife: what a former incarnation held is gone when the next one is
// connected.
func TestAnEarlierLife(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1, n2 := w.nodes["n1"], w.nodes["n2"]
		_, _, err := n2.Register(t.Context(), shop)
		require.NoError(t, err)
		n1.Up("n2", cluster.Info{Incarnation: 2, Digest: memdb.Digest{"n2": {Incarnation: 2}}})
		_, err = n1.Lookup(t.Context(), "shop", false)
		require.Equal(t, errs.NotFound, errs.KindOf(err))
		// What still comes of the former is refused.
		_, err = n1.Handle(t.Context(), "n2", replication.PushMethod, json.RawMessage(`{"incarnation":1}`))
		require.Equal(t, errs.Conflict, errs.KindOf(err))
	}, "n1", "n2")
}

// TestEndedProcess.
func TestEndedProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1, n2 := w.nodes["n1"], w.nodes["n2"]
		_, err := n1.Update(func(tx *memdb.Tx) error {
			return tx.PutProcess(memdb.Process{PID: "p1", Node: "n1", State: memdb.ProcessRunning})
		})
		require.NoError(t, err)
		in := shop
		in.PID = "p1"
		_, _, err = n1.Register(t.Context(), in)
		require.NoError(t, err)
		n1.Ended("p1", "its process ended")
		require.NoError(t, n1.Acknowledged(t.Context()))
		_, err = n2.Lookup(t.Context(), "shop", false)
		require.Equal(t, errs.NotFound, errs.KindOf(err))
	}, "n1", "n2")
}

// TestBeforeRun: what is to be asked waits until Run runs.
func TestBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, names: []string{"n1", "n2"}, nodes: map[string]*node{}, cut: map[[2]string]bool{}}
		for _, name := range w.names {
			w.nodes[name] = w.make(name)
		}
		w.introduce("n1")
		n1 := w.nodes["n1"]
		registered := make(chan error)
		go func() {
			_, _, err := n1.Register(t.Context(), shop)
			registered <- err
		}()
		synctest.Wait()
		require.Zero(t, w.under.Load())
		n1.run()
		require.NoError(t, <-registered)
		n1.stop()
		<-n1.done
	})
}

// TestRunEnds with all calls under way, and nothing is called behind it.
func TestRunEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1 := w.nodes["n1"]
		w.setCut(true, "n1", "n2")
		ctx, cancel := within(time.Second)
		defer cancel()
		ended := make(chan error)
		go func() {
			_, _, err := n1.Register(ctx, shop)
			ended <- err
		}()
		synctest.Wait()
		require.NotZero(t, n1.under.Load())
		n1.stop()
		<-n1.done
		require.Zero(t, n1.under.Load())
		n1.Grew()
		require.ErrorIs(t, <-ended, context.DeadlineExceeded, "nothing answers any more")
		require.Zero(t, n1.under.Load())
	}, "n1", "n2")
}

// TestGarbage is answered with an error, and changes nothing.
func TestGarbage(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	inBubble(t, func(t *testing.T, w *world) {
		n1 := w.nodes["n1"]
		before := n1.Digest()
		for _, method := range []string{registry.AskMethod, replication.PushMethod, replication.SnapshotMethod, replication.PullMethod, replication.FeedMethod} {
			require.True(t, Handles(method))
			for _, raw := range []string{``, `{`, `[]`, `7`, `{"names":7,"changes":7,"rows":7,"have":7,"entries":7}`, deep(20_000)} {
				_, err := n1.Handle(t.Context(), "n2", method, json.RawMessage(raw))
				require.Equal(t, errs.BadParameter, errs.KindOf(err), "%s %.20s: %v", method, raw, err)
			}
		}
		require.False(t, Handles("registry.other"))
		_, err := n1.Handle(t.Context(), "n2", "registry.other", nil)
		require.Equal(t, errs.MethodNotFound, errs.KindOf(err))
		for method, raw := range map[string]string{
			replication.PushMethod:     `{"incarnation":1,"changes":[{"seq":1,"table":"names","id":"x","row":{"name":"x","node":"n1"}}]}`,
			replication.SnapshotMethod: `{"origin":"n1","position":{"incarnation":9,"seq":9},"last":true}`,
			replication.PullMethod:     `{"origin":"n1","index":-1}`,
			replication.FeedMethod:     `{"feed":"none"}`,
			registry.AskMethod:         `{"names":7}`,
		} {
			_, err := n1.Handle(t.Context(), "n2", method, json.RawMessage(raw))
			require.Error(t, err, method)
			_, err = n1.Handle(t.Context(), "n1", method, json.RawMessage(raw)) // as if from itself
			require.Error(t, err, method)
		}
		require.Equal(t, before, n1.Digest())
		_, err = n1.Handle(t.Context(), "n2", replication.PushMethod, json.RawMessage(
			`{"incarnation":1,"changes":[{"seq":1,"table":"names","id":"x","row":{"name":"x","node":"n2","since":1,"value":`+deep(memdb.MaxValueDepth)+`}}]}`))
		require.NoError(t, err, "it can be read")
		_, _, err = n1.Register(t.Context(), shop)
		require.NoError(t, err, "and all goes on")
		require.False(t, n1.Inline(replication.PullMethod))
		require.True(t, n1.Inline(registry.AskMethod))
		require.True(t, n1.Inline(replication.PushMethod))
	}, "n1", "n2")
}

// TestAHostilePeer answers something else than what was asked for.
func TestAHostilePeer(t *testing.T) {
	db, err := memdb.Open("n1")
	require.NoError(t, err)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := NewCore(Config{Self: "n1", DB: db, DeadAfter: deadAfter})
	c.SetIncarnation(1)
	c.Up(now, "n2", cluster.Info{Incarnation: 1})
	c.Members(now, []cluster.Member{{Name: "n2", State: cluster.Alive, Reach: cluster.ReachDirect, Incarnation: 1, Since: now}})
	c.Lookup(now, registry.Lookup{ID: 1, Name: "shop", Consistent: true, Deadline: now.Add(time.Second)})
	require.NotEmpty(t, c.Busy())
	answers := []any{nil, &registry.Answer{}, &replication.Reached{}, &replication.Reached{Position: memdb.Position{Incarnation: 9, Seq: 9}}, &replication.Pulled{}, "text"}
	var done []registry.Done
	for step := range 200 {
		calls, ended := c.Take()
		done = append(done, ended...)
		for i, call := range calls {
			c.Answered(now, call, answers[(step+i)%len(answers)], nil)
		}
		if next := c.Next(); next.After(now) {
			now = next
		}
		c.Tick(now)
	}
	require.Len(t, done, 1)
	require.Error(t, done[0].Err)
	require.Zero(t, c.Acked("n2"))
}

// TestARelay: a member that only another one reaches is replicated with through
// that one, until nobody reaches it.
func TestARelay(t *testing.T) {
	db, err := memdb.Open("n1")
	require.NoError(t, err)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := NewCore(Config{Self: "n1", DB: db, DeadAfter: deadAfter})
	c.SetIncarnation(1)
	see := func(reach cluster.Reach) {
		c.Members(now, []cluster.Member{{Name: "n2", State: cluster.Alive, Reach: reach, Incarnation: 4, Since: now}})
	}
	see("via n3")
	calls, _ := c.Take()
	require.NotEmpty(t, calls)
	require.Equal(t, "n2", calls[0].Peer)
	require.Equal(t, uint64(4), c.repl.Linked("n2"))
	see(cluster.ReachNone)
	require.Zero(t, c.repl.Linked("n2"))
	see("via n3")
	c.Up(now, "n2", cluster.Info{Incarnation: 4})
	see(cluster.ReachDirect)
	require.Equal(t, uint64(4), c.repl.Linked("n2"))
	c.Down(now, "n2") // others reach it still, for all that is known
	see("via n3")
	require.Equal(t, uint64(4), c.repl.Linked("n2"))
}
