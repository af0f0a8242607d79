package replication

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/memdb"
)

func TestChangesReachAll(t *testing.T) {
	w := newWorld(t, 3)
	n1, n2 := w.nodes["n1"], w.nodes["n2"]
	n1.write("before")
	w.linkAll()
	n2.write("after")
	w.run(time.Second)
	for _, n := range w.nodes {
		require.Equal(t, "n2/after n1/before", n.sees())
	}
	require.EqualValues(t, 1, n1.Acked("n2"))
	require.EqualValues(t, 1, n1.Acked("n3"))
	require.Zero(t, n1.Acked("n9"))
	require.EqualValues(t, 1, n1.Linked("n2"))
	require.Zero(t, n1.Linked("n9"))
	w.said = nil
	w.run(time.Hour)
	require.Empty(t, w.said, "with nothing to say nothing is said")
	require.Zero(t, n1.Next())
}

// TestOneBatchInFlight: what piles up while one travels goes as the next.
func TestOneBatchInFlight(t *testing.T) {
	w := newWorld(t, 2)
	w.delay = 50 * time.Millisecond
	w.linkAll()
	w.run(time.Second)
	begin := w.now
	for i := range 100 {
		w.nodes["n1"].write(fmt.Sprintf("s%03d", i))
		w.run(time.Millisecond)
	}
	w.run(time.Second)
	w.same()
	pushes := w.sent("n1", "n2", PushMethod, begin)
	require.Len(t, pushes, 2)
	require.Len(t, pushes[0].params.(*Push).Changes, 1)
	require.Len(t, pushes[1].params.(*Push).Changes, 99)
}

// TestCatchUp: a peer that was away gets what it missed, from the log if that
// reaches back, as a snapshot in chunks if not.
func TestCatchUp(t *testing.T) {
	for name, missed := range map[string]int{"by changes": 1200, "by a snapshot": 9000} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			n1, n2 := w.nodes["n1"], w.nodes["n2"]
			w.linkAll()
			n1.write("first")
			w.run(time.Second)
			w.unlink("n1", "n2")
			n1.churn(missed, 1500)
			w.run(time.Second)
			require.Equal(t, "n1/first", n2.sees())
			w.link("n1", "n2")
			w.run(2 * time.Second)
			w.same()
			require.Equal(t, n1.db.Log().Last(), n1.Acked("n2"))
			if missed < 8192 {
				require.Zero(t, w.called(SnapshotMethod))
			} else {
				require.Equal(t, 3, w.called(SnapshotMethod), "1501 rows, 512 in a chunk")
			}
			require.Empty(t, n2.staged)
			require.Empty(t, n1.log.String())
		})
	}
}

// churn writes a number of changes to some rows, at once.
func (n *node) churn(changes, rows int) {
	n.update(func(tx *memdb.Tx) error {
		for i := range changes {
			if err := tx.PutSandbox(memdb.Sandbox{ID: fmt.Sprintf("%s-%04d", n.name, i%rows), Node: n.name, Epoch: uint64(i)}); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestASnapshotThatIsCut in the middle, or whose rows change meanwhile, is begun
// again, and nothing of it is seen before it is whole.
func TestASnapshotThatIsCut(t *testing.T) {
	w := newWorld(t, 2)
	n1, n2 := w.nodes["n1"], w.nodes["n2"]
	n1.churn(9000, 1500)
	w.link("n1", "n2")
	w.run(3 * time.Millisecond) // the first push, or chunk, and the next
	w.setCut("n1", "n2", true)
	w.run(time.Second)
	require.Len(t, n2.staged, 1)
	require.Empty(t, n2.sees(), "half of it")
	n1.churn(1, 1)
	w.setCut("n1", "n2", false)
	w.run(2 * time.Second)
	w.same()
	require.Empty(t, n2.staged)

	// The link goes down in the middle, and comes up: what had come is given up.
	w.unlink("n1", "n2")
	n1.churn(9000, 1500)
	w.link("n1", "n2")
	w.run(2 * time.Millisecond)
	w.unlink("n1", "n2")
	require.Empty(t, n2.staged)
	w.link("n1", "n2")
	w.run(time.Second)
	w.same()
}

// TestAThirdTells what a node that is gone has said: as changes, in as many
// messages as it takes, or as a snapshot where its log does not reach back.
func TestAThirdTells(t *testing.T) {
	for name, tc := range map[string]struct{ changes, rows, pulls int }{
		"by changes":    {1000, 1000, 2},
		"by a snapshot": {1500, 1100, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			w.link("n1", "n2")
			w.nodes["n1"].churn(tc.changes, tc.rows)
			w.nodes["n1"].claim("name", 1)
			w.nodes["n1"].confirm()
			w.run(time.Second)
			w.kill("n1")
			w.link("n2", "n3")
			w.run(time.Second)
			w.same()
			require.Equal(t, tc.pulls, w.called(PullMethod))
			_, ok := w.nodes["n3"].db.View().Claim("name", "n1")
			require.True(t, ok)
			require.Equal(t, uint64(tc.changes)+1, w.nodes["n3"].db.Confirmed("n1"), "with the watermark")
			require.Empty(t, w.nodes["n2"].given)
			require.Nil(t, w.nodes["n3"].links["n2"].target)
		})
	}
}

// TestWhatIsOnItsWayIsNotPulled: only what was missing at two looks is.
func TestWhatIsOnItsWayIsNotPulled(t *testing.T) {
	w := newWorld(t, 3)
	n1, n2, n3 := w.nodes["n1"], w.nodes["n2"], w.nodes["n3"]
	w.linkAll()
	w.run(time.Second)
	w.said = nil
	w.setCut("n1", "n3", true)
	n1.write("a")
	w.run(100 * time.Millisecond)
	n3.Saw(w.now, "n2", n2.db.Digest())
	w.flush(n3)
	require.Zero(t, w.called(PullMethod))
	n1.write("b")
	w.run(100 * time.Millisecond)
	n3.Saw(w.now, "n2", n2.db.Digest())
	w.flush(n3)
	w.run(100 * time.Millisecond)
	require.Equal(t, "n1/a n1/b", n3.sees())
	require.Equal(t, 1, w.called(PullMethod))
	n3.Saw(w.now, "n9", n2.db.Digest()) // no link: nothing
	n3.Reroute(w.now, "n9")
}

// TestAPullThatFailed is begun again by the next digest.
func TestAPullThatFailed(t *testing.T) {
	w := newWorld(t, 3)
	n3 := w.nodes["n3"]
	w.link("n1", "n2")
	w.nodes["n1"].churn(3000, 1500)
	w.run(time.Second)
	w.kill("n1")
	w.link("n2", "n3")
	w.run(3 * time.Millisecond) // one chunk
	w.setCut("n2", "n3", true)
	w.run(10 * time.Second)
	require.Empty(t, n3.sees())
	require.Equal(t, 1, strings.Count(n3.log.String(), "rows of n1"))
	w.setCut("n2", "n3", false)
	w.gossip()
	w.same()
	require.Empty(t, w.nodes["n2"].given)
}

// TestPullOfRowsThatChange: they arrive although they change faster than their
// chunks can be sent, and what comes after them is not kept waiting.
func TestPullOfRowsThatChange(t *testing.T) {
	w := newWorld(t, 4)
	n1, n2, n3 := w.nodes["n1"], w.nodes["n2"], w.nodes["n3"]
	w.link("n1", "n2")
	w.link("n2", "n4")
	n1.churn(1500, 1500) // three chunks
	w.nodes["n4"].write("other")
	w.run(time.Second)
	w.link("n2", "n3")
	for i := range 5000 {
		w.run(time.Millisecond)
		n1.write(fmt.Sprintf("n1-%04d", i%1500))
		if i == 100 {
			require.Len(t, n3.db.View().Sandboxes(), 1501)
		}
		if i%500 == 0 {
			n3.Saw(w.now, "n2", n2.db.Digest())
			w.flush(n3)
		}
	}
	w.gossip()
	w.same()
	require.Empty(t, n2.given, "what was pulled is not held any longer")

	ask := func(have memdb.Position) {
		_, err := n2.Handle("n3", &Pull{Origin: "n1", Have: have})
		require.NoError(t, err)
	}
	ask(memdb.Position{})
	require.Len(t, n2.given, 1, "begun")
	ask(n1.db.Position("n1"))
	require.Empty(t, n2.given, "and given up by who pulls")
	ask(memdb.Position{})
	n2.Saw(w.now, "n3", memdb.Digest{"n1": {Incarnation: 1, Seq: 7}})
	require.Len(t, n2.given, 1, "it is still behind")
	n2.Saw(w.now, "n3", n1.db.Digest())
	require.Empty(t, n2.given, "it has it from somebody else")
	ask(memdb.Position{})
	w.unlink("n2", "n3")
	require.Empty(t, n2.given, "and since the link is down")
	ask(memdb.Position{})
	require.Len(t, n2.given, 1, "who is not called may call")
	n2.Down("n3")
	require.Empty(t, n2.given)
}

// TestPulledMeanwhile: what comes another way while it is pulled is not asked for
// any longer, and what a third says of a past incarnation is no failure.
func TestPulledMeanwhile(t *testing.T) {
	w := newWorld(t, 3)
	n1, n2, n3 := w.nodes["n1"], w.nodes["n2"], w.nodes["n3"]
	w.link("n1", "n2")
	n1.churn(3000, 1500)
	w.run(time.Second)
	w.kill("n1")
	w.link("n2", "n3")
	w.run(3 * time.Millisecond)
	w.start("n1", 2).write("new")
	w.link("n1", "n3")
	w.run(time.Second)
	require.Len(t, w.sent("n3", "n2", PullMethod, time.Time{}), 2, "asked at 0 and at 2 ms")
	require.Equal(t, "n1/new", n3.sees())
	w.gossip()
	w.same()
	require.Empty(t, n3.log.String())
	require.Empty(t, n2.log.String())
}

// TestReborn: a node that comes back with an empty memory is believed, and its
// past is gone everywhere.
func TestReborn(t *testing.T) {
	w := newWorld(t, 3)
	w.linkAll()
	w.nodes["n1"].write("old1", "old2")
	w.nodes["n2"].write("kept")
	w.run(time.Second)
	w.kill("n1")
	w.start("n1", 2).write("new")
	w.linkAll()
	w.run(time.Second)
	for _, n := range w.nodes {
		require.Equal(t, "n2/kept n1/new", n.sees())
	}
	w.same()
	require.EqualValues(t, 2, w.nodes["n2"].Linked("n1"))
}

// TestTheIncarnationRises while a node joins: its peers get its rows anew, at
// once, and what they had acknowledged counts no more.
func TestTheIncarnationRises(t *testing.T) {
	for name, changes := range map[string]int{"by changes": 20, "by a snapshot": 9000} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			n1, n2 := w.nodes["n1"], w.nodes["n2"]
			w.linkAll()
			n1.churn(changes, 10)
			w.run(time.Second)
			n1.confirm()
			n1.churn(1, 1)
			w.run(500 * time.Microsecond) // a message is under way
			require.NoError(t, n1.db.SetIncarnation(5))
			require.Zero(t, n1.Acked("n2"))
			n1.changed()
			w.run(50 * time.Millisecond)
			w.same()
			require.Equal(t, memdb.Position{Incarnation: 5, Seq: uint64(changes) + 1}, n2.db.Position("n1"))
			require.EqualValues(t, changes+1, n1.Acked("n2"))
			require.EqualValues(t, changes, n2.db.Confirmed("n1"))
			require.Empty(t, n1.log.String())
		})
	}
}

// TestWhereAPeerStandsIsAsked if it has not said so: it is called by way of a
// third.
func TestWhereAPeerStandsIsAsked(t *testing.T) {
	w := newWorld(t, 2)
	n1, n2 := w.nodes["n1"], w.nodes["n2"]
	n1.write("a")
	w.link("n1", "n2")
	w.run(time.Second)
	n1.confirm()
	w.unlink("n1", "n2")
	n1.write("b")
	w.reway("n1", "n2")
	begin := w.now
	n1.Up(w.now, "n2", 1, nil)
	w.flush(n1)
	w.run(time.Second)
	require.Equal(t, "n1/a n1/b", n2.sees())
	pushes := w.sent("n1", "n2", PushMethod, begin)
	require.Len(t, pushes, 2)
	require.Empty(t, pushes[0].params.(*Push).Changes)
	require.Len(t, pushes[1].params.(*Push).Changes, 1)
	require.EqualValues(t, 1, n2.db.Confirmed("n1"))
}

// TestFailures are logged once, and the pauses grow; then all is as it was.
func TestFailures(t *testing.T) {
	w := newWorld(t, 2)
	n1 := w.nodes["n1"]
	w.timeout = time.Millisecond
	w.linkAll()
	w.run(time.Second)
	for range 2 {
		w.setCut("n1", "n2", true)
		n1.log.Reset()
		begin := w.now
		n1.write(fmt.Sprint(begin.UnixNano()))
		w.run(5 * time.Second)
		var pauses []time.Duration
		list := w.sent("n1", "n2", PushMethod, begin)
		for i := range list[1:] {
			pauses = append(pauses, list[i+1].at.Sub(list[i].at)-2*time.Millisecond) // there, and the time-out
		}
		const ms = time.Millisecond
		require.Equal(t, []time.Duration{20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 500 * ms, 500 * ms}, pauses[:7])
		require.Equal(t, 1, strings.Count(n1.log.String(), "replication is held up"), n1.log.String())
		w.setCut("n1", "n2", false)
		w.run(time.Second)
		w.same()
	}
}

// TestATickThatWaitsForAnAnswer is not asked for again: it would come without
// pause for as long as the peer takes.
func TestATickThatWaitsForAnAnswer(t *testing.T) {
	w := newWorld(t, 2)
	n1 := w.nodes["n1"]
	w.linkAll()
	w.run(time.Second)
	w.setCut("n1", "n2", true)
	require.Empty(t, n1.Busy())
	n1.write("a")
	require.Equal(t, "changes to n2", n1.Busy())
	w.run(80 * time.Millisecond) // the push is lost, and tried again
	w.delay, w.timeout = 10*time.Second, 10*time.Second
	n1.confirm()
	n1.publish(1)
	w.run(time.Second) // the world counts
	require.True(t, n1.Next().IsZero() || n1.Next().After(w.now))
}

// TestReroute: what is under way is said again another way, also if both arrive.
func TestReroute(t *testing.T) {
	w := newWorld(t, 3)
	n1, n2, n3 := w.nodes["n1"], w.nodes["n2"], w.nodes["n3"]
	w.link("n1", "n2")
	w.link("n2", "n3")
	n1.write("first")
	n1.churn(9000, 1500)
	w.run(time.Second)
	n1.write("second")
	n1.publish(3)
	n2.write("third")
	w.setCut("n1", "n2", true)
	w.run(time.Millisecond)
	w.timeout = time.Hour // no answer ever comes
	for _, pair := range [][2]*node{{n1, n2}, {n2, n1}} {
		w.reway(pair[0].name, pair[1].name)
		pair[0].Reroute(w.now, pair[1].name)
		w.flush(pair[0])
	}
	w.run(100 * time.Millisecond)
	require.Equal(t, n1.sees(), n2.sees())
	require.Equal(t, []string{"E 1", "E 2", "E 3"}, n2.hears())
	require.EqualValues(t, n1.db.Log().Last(), n1.Acked("n2"))
	w.gossip()
	w.same()

	// In the middle of a snapshot, and of a pull.
	w.timeout = time.Second
	w.unlink("n1", "n2")
	w.unlink("n2", "n3")
	n1.churn(9000, 1500)
	w.link("n1", "n2")
	w.run(time.Millisecond)
	w.reway("n1", "n2")
	n1.Reroute(w.now, "n2")
	w.flush(n1)
	w.run(time.Second)
	w.link("n2", "n3")
	w.run(3 * time.Millisecond)
	w.reway("n3", "n2")
	n3.Reroute(w.now, "n2")
	w.flush(n3)
	w.gossip()
	w.same()
}

// TestWhatCountsNoMore is not said.
func TestWhatCountsNoMore(t *testing.T) {
	w := newWorld(t, 2)
	n1 := w.nodes["n1"]
	w.link("n1", "n2")
	w.run(time.Second)
	n1.write("a")
	n1.Up(w.now, "n2", 1, memdb.Digest{})
	n1.Up(w.now, "n2", 1, memdb.Digest{})
	require.Len(t, n1.Take(), 2, "one push and one publication")
	n1.Up(w.now, "n2", 1, memdb.Digest{})
	n1.Down("n2")
	require.Empty(t, n1.Take())
	require.Empty(t, n1.calls)
	n1.Answered(w.now, 1, nil, nil) // an answer to what counts no more
}

// TestBeaten: the peer that knows a better claim says so, and says it again when
// its answer was lost with the link.
func TestBeaten(t *testing.T) {
	w := newWorld(t, 3)
	n1, n2 := w.nodes["n1"], w.nodes["n2"]
	w.link("n1", "n2")
	w.link("n2", "n3")
	w.nodes["n3"].claim("name", 5)
	w.run(time.Second)
	n1.claim("own", 1)
	n1.claim("another", 1)
	n1.claim("name", 9)
	w.run(time.Second)
	require.Equal(t, []string{"n2: name of n3"}, n1.beaten)

	n1.beaten = nil
	w.fate = func(*way, Call) fate { return fate{delay: w.delay, unanswered: true} }
	n1.claim("other", 9)
	w.run(20 * time.Millisecond)
	require.Empty(t, n1.beaten)
	_, ok := n2.db.View().Claim("other", "n1")
	require.True(t, ok, "it has arrived")
	w.fate = nil
	w.link("n1", "n2")
	require.Zero(t, n1.Acked("n2"), "nothing was confirmed")
	w.run(time.Second)
	require.Contains(t, n1.beaten, "n2: name of n3")

	// By a snapshot too, in which it is told behind which claims all is settled.
	require.NoError(t, n1.db.Confirm(1))
	n1.churn(9000, 10)
	w.run(time.Second)
	n1.beaten = nil
	require.NoError(t, n1.db.Confirm(2))
	w.link("n1", "n2")
	w.run(time.Second)
	require.Equal(t, []string{"n2: name of n3"}, n1.beaten)
	require.EqualValues(t, 2, n2.db.Confirmed("n1"), "a peer that has it all learns the watermark by a snapshot too")

	// And what is settled is not told again.
	n1.beaten = nil
	n1.confirm()
	w.link("n1", "n2")
	w.run(time.Second)
	require.Empty(t, n1.beaten)
}

// TestTheWatermarkIsToldSoon: with the next changes if there are some, by itself
// after 5 ms if not.
func TestTheWatermarkIsToldSoon(t *testing.T) {
	w := newWorld(t, 2)
	n1, n2 := w.nodes["n1"], w.nodes["n2"]
	w.linkAll()
	n1.claim("a", 1)
	w.run(time.Second)
	begin := w.now
	n1.confirm()
	w.run(2 * time.Millisecond)
	require.Empty(t, w.sent("n1", "n2", PushMethod, begin))
	n1.claim("b", 1)
	w.run(time.Millisecond)
	require.EqualValues(t, 1, n2.db.Confirmed("n1"), "with the next claim")
	w.run(time.Second)
	require.Len(t, w.sent("n1", "n2", PushMethod, begin), 1)
	require.True(t, n2.applied[len(n2.applied)-1].Rose)

	n1.confirm()
	w.run(4 * time.Millisecond)
	n1.changed() // nothing new: it does not begin to wait again
	w.run(2 * time.Millisecond)
	require.EqualValues(t, 2, n2.db.Confirmed("n1"), "by itself")
	w.run(time.Second)
	require.Len(t, w.sent("n1", "n2", PushMethod, begin), 2, "once")
	require.Zero(t, n1.Next())
}

// TestEvents are told once each, in the origin's order, also when messages and
// answers are lost on the way; [node.onFeed] looks.
func TestEvents(t *testing.T) {
	w := newWorld(t, 3)
	w.linkAll()
	w.run(time.Second)
	var want []string
	for i := range 300 {
		w.nodes["n1"].publish(1)
		want = append(want, fmt.Sprintf("E %d", i+1))
		w.run(time.Duration(i%3) * time.Millisecond)
		w.setCut("n1", "n2", i%50 > 40) // too briefly to be noticed
	}
	w.setCut("n1", "n2", false)
	w.run(10 * time.Second)
	require.Equal(t, want, w.nodes["n2"].hears())
	require.Equal(t, want, w.nodes["n3"].hears())
}

// TestEventsAfterAnAbsence: a short one loses nothing; after a long one the
// peer is told how many are gone; who is new begins with what comes.
func TestEventsAfterAnAbsence(t *testing.T) {
	w := newWorld(t, 2)
	n1, n2 := w.nodes["n1"], w.nodes["n2"]
	say := func(count int) {
		n1.publish(count)
		w.run(5 * time.Second)
	}
	say(3)
	w.linkAll()
	w.run(time.Second)
	say(2)
	require.Equal(t, []string{"E 4", "E 5"}, n2.hears(), "who is new begins with what comes")
	w.unlink("n1", "n2")
	say(2)
	w.link("n1", "n2")
	w.run(time.Second)
	require.Equal(t, []string{"E 4", "E 5", "E 6", "E 7"}, n2.hears())
	w.unlink("n1", "n2")
	say(4993)
	w.link("n1", "n2")
	w.run(5 * time.Second)
	heard := n2.hears()
	require.Equal(t, `Gap n2{"missed":897}`, heard[4])
	require.Equal(t, "E 905", heard[5])
	require.Equal(t, "E 5000", heard[len(heard)-1])
	require.Len(t, heard, 4+1+4096)
	require.EqualValues(t, 897, n2.missed["n1"])

	// Reborn, it begins anew: a peer that was there hears all of it, also what was said
	// before they met again.
	w.kill("n1")
	n1 = w.start("n1", 2)
	n1.publish(2)
	w.linkAll()
	w.run(time.Second)
	n1.publish(1)
	w.run(time.Second)
	heard = n2.hears()
	require.Equal(t, []string{"E 5000", "E 1", "E 2", "E 3"}, heard[len(heard)-4:])
	require.Equal(t, hearing{2, 3}, n2.heard[[2]string{events, "n1"}])
}

// TestPublications: what a receiver makes of each.
func TestPublications(t *testing.T) {
	entry := func(numbers ...int) (list []json.RawMessage) {
		for _, i := range numbers {
			list = append(list, json.RawMessage(fmt.Sprintf(`{"type":"E","node":"n1","subject":"%d"}`, i)))
		}
		return list
	}
	n2 := newWorld(t, 2).nodes["n2"]
	hear := func(p Publication) any {
		p.Feed = events
		heard, err := n2.Handle("n1", &p)
		if err != nil {
			return errs.KindOf(err)
		}
		return *heard.(*Heard)
	}
	require.Equal(t, Heard{false, 7}, hear(Publication{Incarnation: 1, From: 7}), "unknown: it begins with what comes")
	require.Equal(t, Heard{true, 7}, hear(Publication{Incarnation: 1, From: 9}), "known: it is told where it stands")
	require.Equal(t, Heard{true, 9}, hear(Publication{Incarnation: 1, From: 7, Entries: entry(8, 9)}))
	require.Equal(t, Heard{true, 10}, hear(Publication{Incarnation: 1, From: 7, Entries: entry(8, 9, 10)}), "in part again")
	require.Equal(t, Heard{true, 10}, hear(Publication{Incarnation: 1, From: 7, Entries: entry(8, 9)}), "again")
	require.Equal(t, Heard{true, 15}, hear(Publication{Incarnation: 1, From: 10, Missed: 3, Entries: entry(14, 15)}))
	require.Equal(t, Heard{true, 15}, hear(Publication{Incarnation: 1, From: 10, Missed: 5}), "all of what is missed came before")
	require.Equal(t, Heard{true, 18}, hear(Publication{Incarnation: 1, From: 17, Entries: entry(18)}), "a gap that is not told is one too")
	require.Equal(t, []string{"E 8", "E 9", "E 10", `Gap n2{"missed":3}`, "E 14", "E 15", `Gap n2{"missed":2}`, "E 18"}, n2.hears())
	require.Equal(t, Heard{true, 2}, hear(Publication{Incarnation: 2, From: 1, Entries: entry(2)}), "a new incarnation: from its first")
	require.Equal(t, errs.Conflict, hear(Publication{Incarnation: 1, From: 18, Entries: entry(19)}), "one that is over")
	require.Equal(t, Heard{true, 2}, hear(Publication{Incarnation: 2, From: 2}), "changes nothing")
	require.Equal(t, []string{`Gap n2{"missed":1}`, "E 2"}, n2.hears()[8:])
}

// TestForgotten: an origin whose names were forgotten is not pulled, until it is
// back, or reborn.
func TestForgotten(t *testing.T) {
	w := newWorld(t, 3)
	n1, n2, n3 := w.nodes["n1"], w.nodes["n2"], w.nodes["n3"]
	w.linkAll()
	n1.write("box")
	n1.claim("name", 1)
	n1.confirm()
	w.run(time.Second)
	w.unlink("n1", "n3")
	require.NoError(t, n3.db.Hide("n1"))
	require.NoError(t, n3.db.ForgetNames("n1"))
	n3.Pass("n1", 1)
	w.said = nil
	claimed := func() bool {
		_, ok := n3.db.View().Claim("name", "n1")
		return ok
	}
	w.gossip()
	require.False(t, claimed())
	require.Zero(t, w.called(PullMethod))
	require.Equal(t, "n1/box", n3.sees())

	w.link("n1", "n3")
	w.run(time.Second)
	require.True(t, claimed())
	w.same()

	// What was asked for before is not taken after.
	w.unlink("n1", "n3")
	n1.claim("another", 2)
	w.run(time.Second)
	n3.Saw(w.now, "n2", n2.db.Digest())
	n3.Saw(w.now, "n2", n2.db.Digest())
	w.flush(n3)
	require.NoError(t, n3.db.ForgetNames("n1"))
	n3.Pass("n1", 1)
	w.gossip()
	require.False(t, claimed())
	w.kill("n1")
	w.start("n1", 2).claim("name", 1)
	w.link("n1", "n2")
	w.run(time.Second)
	w.gossip()
	require.True(t, claimed())
	w.same()
}

// TestAllTypesSurviveJSON: whatever is said, as JSON.
func TestAllTypesSurviveJSON(t *testing.T) {
	w := newWorld(t, 3)
	w.json = true
	n1, n2 := w.nodes["n1"], w.nodes["n2"]
	w.link("n1", "n2")
	n1.publish(1)
	n1.churn(1200, 600)
	n1.update(func(tx *memdb.Tx) error {
		return errors.Join(
			tx.PutNode(memdb.Node{Name: "n1", HTTP: "h:1", Started: w.now}),
			tx.PutProcess(memdb.Process{PID: "n1.1.1", Node: "n1", Exit: &memdb.Exit{Cause: memdb.CauseLost, At: w.now}}),
			tx.PutClaim(memdb.Claim{Name: "name", Node: "n1", Value: json.RawMessage(`{"a":"<é>"}`), Epoch: 3, Stamp: 7}),
			tx.DeleteSandbox("n1-0001"),
		)
	})
	n1.confirm()
	n2.claim("name", 9)
	w.run(time.Second)
	require.Equal(t, []string{"n1: name of n1"}, n2.beaten)
	w.unlink("n1", "n2")
	n1.churn(9000, 600)
	n1.publish(5000)
	w.link("n1", "n2")
	w.run(5 * time.Second)
	require.EqualValues(t, 5001-4096-1, n2.missed["n1"])
	w.kill("n1")
	w.link("n2", "n3")
	w.gossip()
	w.same()
	for _, method := range []string{PushMethod, SnapshotMethod, PullMethod, FeedMethod} {
		require.NotZero(t, w.called(method), method)
		require.Equal(t, method != PullMethod, Ordered(method))
	}
	require.Nil(t, Params("replication.nope"))
	require.False(t, Ordered("replication.nope"))
	require.Empty(t, n1.log.String()+n2.log.String())
}

// TestStrangeMessages are refused, and change nothing.
func TestStrangeMessages(t *testing.T) {
	w := newWorld(t, 2)
	n := w.nodes["n1"]
	row := func(seq uint64, node string) memdb.Change {
		return memdb.Change{Seq: seq, Table: "sandboxes", ID: "x", Row: json.RawMessage(`{"id":"x","node":"` + node + `"}`)}
	}
	_, err := n.Handle("n2", &Push{Incarnation: 2, Changes: []memdb.Change{row(1, "n2")}})
	require.NoError(t, err)
	before := n.state()
	at := memdb.Position{Incarnation: 2, Seq: 9}
	claim := func(seq uint64, name, value string) memdb.Change {
		raw, err := json.Marshal(memdb.Claim{Name: name, Node: "n2", Value: json.RawMessage(value), Stamp: 1, Since: seq})
		require.NoError(t, err)
		return memdb.Change{Seq: seq, Table: "names", ID: name, Row: raw}
	}
	push := func(c memdb.Change) *Push { return &Push{Incarnation: 2, From: 1, Changes: []memdb.Change{c}} }
	large := `"` + strings.Repeat("x", memdb.MaxValueBytes) + `"`
	for what, tc := range map[string]struct {
		params any
		kind   errs.Kind
	}{
		"no such method":                   {"what", errs.MethodNotFound},
		"nothing":                          {nil, errs.MethodNotFound},
		"a row of another":                 {&Push{Incarnation: 2, From: 1, Changes: []memdb.Change{row(2, "n3")}}, errs.Forbidden},
		"a row of ours":                    {&Push{Incarnation: 2, From: 1, Changes: []memdb.Change{row(2, "n1")}}, errs.Forbidden},
		"out of order":                     {&Push{Incarnation: 2, From: 1, Changes: []memdb.Change{row(2, "n2"), row(2, "n2")}}, errs.BadParameter},
		"a name with a byte 0":             {push(claim(2, "a\x00n1", "1")), errs.BadParameter},
		"a name nobody can ask for":        {push(claim(2, "a\nb", "1")), errs.BadParameter},
		"an over-long name":                {push(claim(2, strings.Repeat("x", 256), "1")), errs.BadParameter},
		"a value over the limit":           {push(claim(2, "a", large)), errs.BadParameter},
		"a value too deep":                 {push(claim(2, "a", strings.Repeat("[", 600)+strings.Repeat("]", 600))), errs.BadParameter},
		"a deletion with a byte 0":         {push(memdb.Change{Seq: 2, Table: "sandboxes", ID: "x\x00n1", Deleted: true}), errs.BadParameter},
		"a snapshot with such a claim":     {&Chunk{Origin: "n2", Position: at, Last: true, Rows: []memdb.Change{claim(0, "a", large)}}, errs.BadParameter},
		"an incarnation that is over":      {&Push{Incarnation: 1, From: 1, Changes: []memdb.Change{row(2, "n2")}}, errs.Conflict},
		"a snapshot of ours":               {&Chunk{Origin: "n1", Position: at, Last: true}, errs.Forbidden},
		"a snapshot of a third":            {&Chunk{Origin: "n3", Position: at, Last: true}, errs.Forbidden},
		"a snapshot with a row of a third": {&Chunk{Origin: "n2", Position: at, Last: true, Rows: []memdb.Change{row(0, "n3")}}, errs.Forbidden},
		"a chunk out of order":             {&Chunk{Origin: "n2", Position: at, Index: 3}, errs.Conflict},
		"a negative chunk":                 {&Chunk{Origin: "n2", Position: at, Index: -1}, errs.Conflict},
		"an empty chunk":                   {&Chunk{Origin: "n2", Position: at}, errs.BadParameter},
		"no such chunk":                    {&Pull{Origin: "n1", Index: 7}, errs.Conflict},
		"a pull of a negative chunk":       {&Pull{Origin: "n1", Index: -1}, errs.Conflict},
		"an unknown feed":                  {&Publication{Feed: "nope"}, errs.BadParameter},
	} {
		_, err := n.Handle("n2", tc.params)
		require.Equal(t, tc.kind, errs.KindOf(err), "%s: %v", what, err)
		require.Equal(t, before, n.state(), what)
		require.Empty(t, n.staged, what)
	}
	for what, from := range map[string]uint64{"a gap": 5, "a repeat": 0} {
		result, err := n.Handle("n2", &Push{Incarnation: 2, From: from, Changes: []memdb.Change{row(from+1, "n2")}})
		require.NoError(t, err)
		require.Equal(t, &Reached{Position: memdb.Position{Incarnation: 2, Seq: 1}}, result, what)
		require.Equal(t, before, n.state(), what)
	}
	// Of an unknown origin there is nothing to pull, and nothing is kept.
	result, err := n.Handle("n2", &Pull{Origin: "n9"})
	require.NoError(t, err)
	require.Equal(t, &Pulled{Delta: &memdb.Batch{}}, result)
	require.Empty(t, n.given)
	// A chunk that changes on the way discards the snapshot.
	_, err = n.Handle("n2", &Chunk{Origin: "n2", Position: at, Rows: []memdb.Change{row(0, "n2")}})
	require.NoError(t, err)
	_, err = n.Handle("n2", &Chunk{Origin: "n2", Position: memdb.Position{Incarnation: 2, Seq: 10}, Index: 1, Last: true})
	require.Equal(t, errs.Conflict, errs.KindOf(err))
	require.Equal(t, before, n.state())
	// An older snapshot is answered with what is known.
	result, err = n.Handle("n2", &Chunk{Origin: "n2", Position: memdb.Position{Incarnation: 1, Seq: 99}, Last: true})
	require.NoError(t, err)
	require.Equal(t, &Reached{Position: memdb.Position{Incarnation: 2, Seq: 1}}, result)
	require.Equal(t, before, n.state())

	s := staging{}
	_, err = s.add(Chunk{Rows: make([]memdb.Change, maxStagedRows+1)})
	require.Equal(t, errs.TooLarge, errs.KindOf(err))
}

// TestLiars: a peer that answers nonsense is not believed, does not stop the
// others, and is not asked without pause.
func TestLiars(t *testing.T) {
	third := memdb.Change{Seq: 1, Table: "sandboxes", ID: "x", Row: json.RawMessage(`{"id":"x","node":"n4"}`)}
	foreign := third
	foreign.Row = json.RawMessage(`{"id":"x","node":"n1"}`)
	turn := uint64(0)
	always := func(answer any) func(any) any { return func(any) any { return answer } }
	for what, answer := range map[string]func(params any) any{
		"an error":              always(errors.New("no")),
		"nothing":               always(nil),
		"another type":          always("what"),
		"a push's answer":       always(&Reached{}),
		"a pull's answer":       always(&Pulled{}),
		"a feed's answer":       always(&Heard{}),
		"a future incarnation":  always(&Reached{Position: memdb.Position{Incarnation: 99, Seq: 1}}),
		"a number beyond":       always(&Reached{Position: memdb.Position{Incarnation: 1, Seq: 77777}}),
		"an entry beyond":       always(&Heard{Known: true, Seq: 77777}),
		"a chunk of another":    always(&Pulled{Chunk: &Chunk{Origin: "n9", Last: true}}),
		"chunks without an end": always(&Pulled{Chunk: &Chunk{Origin: "n4", Rows: []memdb.Change{third}}}),
		"chunks with nothing": func(params any) any {
			p, _ := params.(*Pull)
			return &Pulled{Chunk: &Chunk{Origin: "n4", Index: p.index()}}
		},
		"a foreign row":               always(&Pulled{Delta: &memdb.Batch{Incarnation: 1, Changes: []memdb.Change{foreign}}}),
		"a snapshot of a foreign row": always(&Pulled{Chunk: &Chunk{Origin: "n4", Position: memdb.Position{Incarnation: 1, Seq: 5}, Last: true, Rows: []memdb.Change{foreign}}}),
		"a delta out of order":        always(&Pulled{Delta: &memdb.Batch{Incarnation: 1, Changes: []memdb.Change{third, third}}}),
		"a delta with a gap":          always(&Pulled{Delta: &memdb.Batch{Incarnation: 1, From: 3, Changes: []memdb.Change{third}}}),
		"an incarnation that is over": always(&Pulled{Delta: &memdb.Batch{Incarnation: 0}}),
		"to and fro": func(any) any {
			turn++
			return &Reached{Position: memdb.Position{Incarnation: 1, Seq: turn % 2}}
		},
	} {
		for _, changes := range []int{3, 9000} {
			t.Run(fmt.Sprintf("%s after %d changes", what, changes), func(t *testing.T) {
				w := newWorld(t, 3)
				n := w.nodes["n1"]
				w.link("n1", "n3")
				asked := 0
				w.stranger = func(n *node, call Call) {
					asked++
					require.Less(t, asked, 5000, "it is asked without pause")
					result := answer(call.Params)
					err, _ := result.(error)
					n.Answered(w.now, call.ID, result, err)
					w.flush(n)
				}
				n.Up(w.now, "n2", 1, memdb.Digest{"n4": {Incarnation: 1, Seq: 5}})
				n.churn(changes, 3)
				n.publish(3)
				for range 300 {
					n.Saw(w.now, "n2", memdb.Digest{"n4": {Incarnation: 1, Seq: 5}})
					w.flush(n)
					w.run(100 * time.Millisecond)
				}
				require.NotContains(t, n.sees(), "x")
				require.Empty(t, n.db.View().Claimants("x", ""))
				require.Equal(t, n.sees(), w.nodes["n3"].sees(), "the other has it all")
				require.Equal(t, []string{"E 1", "E 2", "E 3"}, w.nodes["n3"].hears())
				require.LessOrEqual(t, len(n.calls), 6)
			})
		}
	}
}

// index is the index that is asked for, 0 of what is no pull.
func (p *Pull) index() int {
	if p == nil {
		return 0
	}
	return p.Index
}

// TestHooksMayBeNil: who does not want to hear is not told.
func TestHooksMayBeNil(t *testing.T) {
	db, err := memdb.Open("n1")
	require.NoError(t, err)
	require.NoError(t, db.SetIncarnation(1))
	c := NewCore(Config{Self: "n1", DB: db, Feeds: map[string]*journal.Journal[json.RawMessage]{events: journal.New[json.RawMessage](journal.Limits{}, nil)}})
	require.Equal(t, slog.DiscardHandler, c.cfg.Log.Handler())
	now := time.Now()
	c.Up(now, "n2", 1, memdb.Digest{})
	for _, call := range c.Take() {
		c.Answered(now, call.ID, &Reached{}, nil)
	}
	for _, params := range []any{&Push{}, &Publication{Feed: events}, &Publication{Feed: events, Entries: []json.RawMessage{nil}}} {
		_, err := c.Handle("n2", params)
		require.NoError(t, err)
	}
}

// TestNothingGrowsWithChurn: 10,000 overwrites of 10 rows.
func TestNothingGrowsWithChurn(t *testing.T) {
	w := newWorld(t, 3)
	w.linkAll()
	w.run(time.Second)
	n1 := w.nodes["n1"]
	for i := range 10_000 {
		n1.update(func(tx *memdb.Tx) error {
			id := fmt.Sprintf("s%d", i%10)
			if i%2 == 0 {
				return tx.PutClaim(memdb.Claim{Name: id, Node: "n1", Stamp: uint64(i)})
			}
			return tx.PutSandbox(memdb.Sandbox{ID: id, Node: "n1", Epoch: uint64(i)})
		})
		w.run(200 * time.Microsecond)
		switch i % 1000 {
		case 100:
			n1.confirm()
			n1.publish(10)
		case 300:
			w.unlink("n1", "n3")
		case 500:
			w.gossip()
		case 700:
			w.link("n1", "n3")
		case 900:
			w.link("n1", "n2")
		}
		w.said = nil
	}
	w.run(time.Second)
	w.gossip()
	w.same()
	for _, n := range w.nodes {
		require.Equal(t, 10, n.db.View().Len(), n.name)
		require.Empty(t, n.calls)
		require.Empty(t, n.given)
		require.Empty(t, n.staged)
		require.LessOrEqual(t, len(n.heard), 2)
		require.Empty(t, n.passed)
		require.Len(t, n.links, 2)
		require.Empty(t, n.log.String())
	}
	items, missed := n1.db.Log().TryRead(0, 0)
	require.Len(t, items, 8192)
	require.EqualValues(t, 10_000-8192, missed)
	_, ok := w.nodes["n2"].db.Since("n1", memdb.Position{Incarnation: 1, Seq: 10_000 - 1024}, 0)
	require.True(t, ok)
	_, ok = w.nodes["n2"].db.Since("n1", memdb.Position{Incarnation: 1, Seq: 10_000 - 1025}, 0)
	require.False(t, ok, "the log of another origin's changes is bounded")
}
