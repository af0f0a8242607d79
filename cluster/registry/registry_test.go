package registry

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

var one, two = json.RawMessage(`1`), json.RawMessage(`2`)

func TestAlone(t *testing.T) {
	w := start(t)
	d := w.ok(w.register(Register{Name: "shop", Value: one}))
	require.True(t, d.Created)
	require.Equal(t, "n1", d.Claim.Node)
	own, _ := w.own("shop")
	require.True(t, own.Confirmed)
	require.Equal(t, d.Claim, w.ok(w.lookup("shop", false)).Claim)
	require.Equal(t, d.Claim, w.ok(w.lookup("shop", true)).Claim)
	w.ok(w.unregister("shop"))
	w.failed(w.unregister("shop"), errs.NotFound, `node n1 does not hold the name "shop"`)
	w.failed(w.lookup("shop", false), errs.NotFound, `nobody holds the name "shop"`)
	require.Equal(t, "NameRegistered shop, NameUnregistered shop", w.told())
	w.idle()
}

// TestAllAcknowledge: a request ends when all that take part have acknowledged it,
// and no sooner.
func TestAllAcknowledge(t *testing.T) {
	w := start(t, "n2", "n3")
	id := w.register(Register{Name: "shop", Value: one})
	w.ack("n2")
	w.waits(id)
	own, _ := w.own("shop")
	require.False(t, own.Confirmed)
	w.ack("n3")
	require.True(t, w.ok(id).Created)

	again := w.register(Register{Name: "shop", Value: one})
	require.False(t, w.ok(again).Created, "it was acknowledged before")
	w.failed(w.register(Register{Name: "shop", Value: two}), errs.Conflict, "replace: true")

	replaced := w.register(Register{Name: "shop", Value: two, Replace: true})
	w.ack("n2")
	w.waits(replaced)
	w.ack("n3")
	d := w.ok(replaced)
	require.True(t, d.Created)
	require.Equal(t, own.Stamp, d.Claim.Stamp, "it keeps its standing")
	require.Equal(t, own.Since, d.Claim.Since)

	gone := w.unregister("shop")
	require.True(t, w.tell("shop").Leaving)
	w.ack("n2")
	w.waits(gone)
	w.ack("n3")
	w.ok(gone)
	require.False(t, w.tell("shop").Leaving)
	require.Equal(t, "NameRegistered shop, NameUnregistered shop", w.told())
	w.idle()
}

// TestWhoIsGoneIsNotWaitedFor.
func TestWhoIsGoneIsNotWaitedFor(t *testing.T) {
	w := start(t, "n2", "n3")
	id := w.register(Register{Name: "shop"})
	w.lastID++
	await := w.lastID
	w.Await(w.now, await, w.db.Log().Last())
	w.ack("n3")
	w.waits(id)
	w.alive("n3")
	w.ok(id)
	w.ok(await)
	w.idle()
}

// TestARepeatWaits for those that have not acknowledged the value, though it was
// given before: who asked for it did not wait for them.
func TestARepeatWaits(t *testing.T) {
	w := start(t, "n2")
	w.register(Register{Name: "shop", Value: one})
	w.ack("n2")
	late := w.register(Register{Name: "shop", Value: two, Replace: true})
	w.pass(patience)
	require.False(t, w.failed(late, errs.Timeout, "not acknowledged by all").Definite())
	own, _ := w.own("shop")
	require.Equal(t, two, own.Value, "it stays")
	again := w.register(Register{Name: "shop", Value: two})
	w.waits(again)
	w.ack("n2")
	require.False(t, w.ok(again).Created)
	w.idle()
}

// TestNameTaken names the holder, whose own node has said so.
func TestNameTaken(t *testing.T) {
	w := start(t, "n2")
	held := w.claims("n2", "shop", true, func(c *memdb.Claim) { c.PID = "p7" })
	id := w.register(Register{Name: "shop"})
	w.waits(id)
	w.answer(w.asked("n2"), w.holds(held, true))
	err := w.failed(id, errs.NameTaken, "held by process p7 of node n2")
	require.Equal(t, "n2", err.Node)
	require.Equal(t, held, w.done[id].Claim)
	_, has := w.own("shop")
	require.False(t, has)
	w.idle()
}

// TestAnotherProcess of the same node is another holder.
func TestAnotherProcess(t *testing.T) {
	w := start(t)
	w.runs("p1", memdb.ProcessRunning)
	w.ok(w.register(Register{Name: "shop", PID: "p1"}))
	w.failed(w.register(Register{Name: "shop"}), errs.NameTaken, "held by process p1 of node n1")
	w.failed(w.register(Register{Name: "shop", PID: "p2", Value: one, Replace: true}), errs.NameTaken, "process p1")
	w.failed(w.register(Register{Name: "bank", PID: "p2"}), errs.BadParameter, `no process "p2" runs on node n1`)
	w.ok(w.unregister("shop"))
	w.idle()
}

// TestTheRequestsOfOneNameQueue; each begins when the one before has ended.
func TestTheRequestsOfOneNameQueue(t *testing.T) {
	w := start(t, "n2")
	first := w.register(Register{Name: "shop", Value: one})
	second := w.register(Register{Name: "shop", Value: two, Replace: true})
	third := w.unregister("shop")
	fourth := w.register(Register{Name: "shop", Value: two})
	other := w.register(Register{Name: "bank"})
	for _, id := range []uint64{first, second, third, fourth} {
		w.waits(id)
		w.ack("n2")
		w.ok(id)
		w.ok(other) // waits for none of them
	}
	require.Equal(t, "NameRegistered shop, NameRegistered bank, NameUnregistered shop, NameRegistered shop", w.told())
	w.idle()
}

// TestARepeatInTheQueue has nothing to wait for once its turn has come.
func TestARepeatInTheQueue(t *testing.T) {
	w := start(t, "n2")
	first := w.register(Register{Name: "shop"})
	second := w.register(Register{Name: "shop"})
	w.ack("n2")
	require.True(t, w.ok(first).Created)
	require.False(t, w.ok(second).Created)
	w.idle()
}

// TestWhatIsLateDoesNotBegin: nobody waits for it any more.
func TestWhatIsLateDoesNotBegin(t *testing.T) {
	w := start(t, "n2")
	w.register(Register{Name: "shop", Value: one})
	w.ack("n2")
	w.register(Register{Name: "shop", Value: two, Replace: true})
	late := []uint64{w.unregister("shop"), w.register(Register{Name: "shop", Value: json.RawMessage(`3`), Replace: true})}
	w.pass(patience)
	for _, id := range late {
		require.True(t, w.failed(id, errs.Timeout, "nothing was done").Definite())
	}
	own, has := w.own("shop")
	require.True(t, has)
	require.Equal(t, two, own.Value)
	w.ack("n2")
	w.idle()
}

// TestAStaleAnswer, asked for an earlier request, says nothing to the next one.
func TestAStaleAnswer(t *testing.T) {
	w := start(t, "n2")
	held := w.claims("n2", "shop", true, nil)
	first := w.register(Register{Name: "shop"})
	stale := w.asked("n2")
	w.pass(patience)
	w.failed(first, errs.Timeout, "not settled in time")
	second := w.register(Register{Name: "shop"})
	w.answer(stale, w.holds(held, true))
	w.waits(second)
	fresh := w.asked("n2")
	w.gives("n2", "shop")
	w.answer(fresh, w.none("n2"))
	w.ack("n2")
	w.ok(second)
	w.answer(fresh, w.holds(held, true)) // told twice
	w.idle()
}

// TestLeaving: a name that its holder has given up, and that not all know, is not
// free yet.
func TestLeaving(t *testing.T) {
	w := start(t, "n2", "n3")
	w.claims("n2", "shop", true, nil)
	w.gives("n2", "shop")
	id := w.register(Register{Name: "shop"})
	w.quiet() // it has gone from here
	w.ack("n2")
	w.beaten("n3", "shop", "n2") // and not from there
	w.waits(id)
	for range 2 {
		w.answer(w.asked("n2"), Told{Leaving: true, Position: memdb.Position{Incarnation: 1, Seq: 2}})
		w.quiet()
		w.pass(leavesSoon)
		w.waits(id)
	}
	w.answer(w.asked("n2"), w.none("n2"))
	w.ok(id)
	w.idle()
}

// TestARace: the better of two claims is confirmed, and the worse one waits for it.
func TestARace(t *testing.T) {
	w := start(t, "n2", "n3")
	id := w.register(Register{Name: "shop"})
	theirs := w.claims("n2", "shop", false, nil) // earlier
	w.ack("n3")
	w.beaten("n2", "shop", "n2")
	call := w.asked("n2")
	w.quiet() // one question is enough
	w.answer(call, w.holds(theirs, false))
	w.waits(id)
	w.quiet()
	w.says("n2", 1) // its watermark has risen
	w.answer(w.asked("n2"), w.holds(theirs, true))
	w.failed(id, errs.NameTaken, "node n2")
	_, has := w.own("shop")
	require.False(t, has)
	require.Empty(t, w.told(), "it was never held")
	w.idle()
}

// TestALaterClaim does not stand in the way, whoever tells of it.
func TestALaterClaim(t *testing.T) {
	w := start(t, "n2")
	id := w.register(Register{Name: "shop"})
	theirs := w.claims("n2", "shop", false, func(c *memdb.Claim) { c.Stamp = 1 << 62 >> 10 })
	w.quiet()
	w.beaten("n2", "shop", "n2")
	w.answer(w.asked("n2"), w.holds(theirs, false))
	w.ok(id)
	w.gives("n2", "shop")
	w.idle()
}

// TestBeatenReports about what was withdrawn meanwhile, or by this node, are old
// news.
func TestBeatenReports(t *testing.T) {
	w := start(t, "n2")
	w.beaten("n2", "shop", "n3")
	w.quiet()
	id := w.register(Register{Name: "shop"})
	w.beaten("n2", "shop", "n1")
	w.quiet()
	w.ok(id)
	w.idle()
}

// TestASuspect may be the holder and cannot be asked: it is asked again, until it
// is judged.
func TestASuspect(t *testing.T) {
	w := start(t, "n2", "n3")
	w.claims("n2", "shop", true, nil)
	id := w.register(Register{Name: "shop"})
	w.fail(w.asked("n2"))
	w.waits(id)
	w.pass(askAgain)
	call := w.asked("n2")
	require.NoError(t, w.db.Hide("n2"))
	w.alive("n3")
	w.Recheck(w.now)
	w.take()
	w.ack("n3")
	w.ok(id)
	w.fail(call)
	w.idle()
}

// TestASuspectUntilTheTimeIsOver.
func TestASuspectUntilTheTimeIsOver(t *testing.T) {
	w := start(t, "n2")
	w.claims("n2", "shop", true, nil)
	id := w.register(Register{Name: "shop"})
	for range 3 {
		w.fail(w.asked("n2"))
		w.pass(askAgain)
	}
	w.fail(w.asked("n2"))
	w.pass(patience)
	w.failed(id, errs.NodeUnavailable, `node n2 may hold the name "shop" and cannot be asked`)
	w.calls = nil
	w.alive()
	require.NoError(t, w.db.Hide("n2"))
	w.Recheck(w.now)
	w.take()
	for call := range w.Core.calls { // of the last question
		w.fail(Call{ID: call})
	}
	w.idle()
}

// TestAThirdTells of a holder that does not take part for this node: nothing is
// refused on hearsay, and nothing is taken from it.
func TestAThirdTells(t *testing.T) {
	w := start(t, "n3")
	id := w.register(Register{Name: "shop"})
	w.beaten("n3", "shop", "n2")
	w.failed(id, errs.NodeUnavailable, "node n2 may hold the name")
	_, has := w.own("shop")
	require.False(t, has, "it is withdrawn")
	w.idle()
}

// TestTimeOut: a claim that not all have acknowledged in time is withdrawn, and
// nobody may know for sure.
func TestTimeOut(t *testing.T) {
	w := start(t, "n2")
	id := w.register(Register{Name: "shop"})
	w.pass(patience - 1)
	w.waits(id)
	w.pass(1)
	require.False(t, w.failed(id, errs.Timeout, "ask who holds it").Definite())
	_, has := w.own("shop")
	require.False(t, has)
	require.Empty(t, w.told())
	w.ack("n2")
	require.Len(t, w.done, 1)

	w.ok(func() uint64 { id := w.register(Register{Name: "shop"}); w.ack("n2"); return id }())
	gone := w.unregister("shop")
	w.pass(patience)
	w.failed(gone, errs.Timeout, "done here, but not acknowledged by all")
	require.True(t, w.tell("shop").Leaving, "until they know")
	require.NotEmpty(t, w.Busy())
	w.ack("n2")
	w.idle()
}

// TestARequestThatEndsLeavesNothing, also where it has rivals and only the time
// ended it.
func TestARequestThatEndsLeavesNothing(t *testing.T) {
	w := start(t, "n2")
	w.claims("n2", "shop", true, nil)
	id := w.register(Register{Name: "shop"})
	call := w.asked("n2")
	w.pass(patience)
	w.failed(id, errs.Timeout, "")
	require.Empty(t, w.slots)
	require.Empty(t, w.contested)
	w.fail(call)
	w.idle()
}

// TestEnded: the names of a process go with it, those it was about to get too.
func TestEnded(t *testing.T) {
	w := start(t, "n2")
	w.runs("p1", memdb.ProcessRunning)
	held := w.register(Register{Name: "held", PID: "p1", Value: one})
	w.ack("n2")
	w.ok(held)
	pending := w.register(Register{Name: "pending", PID: "p1"})
	replaced := w.register(Register{Name: "held", PID: "p1", Value: two, Replace: true})
	queued := w.register(Register{Name: "pending", PID: "p1"})
	other := w.register(Register{Name: "pending"})
	w.runs("p1", memdb.ProcessExited)
	w.Ended(w.now, "p1", "its process p1 ended")
	w.take()
	require.True(t, w.failed(pending, errs.Conflict, "ended before it had the name").Definite())
	require.False(t, w.failed(replaced, errs.Conflict, "process p1 has ended").Definite(), "some may have seen the value")
	w.failed(queued, errs.BadParameter, "no process")
	w.waits(other)
	w.ack("n2")
	w.ok(other)
	require.Equal(t, "NameRegistered held, NameUnregistered held, NameRegistered pending", w.told())
	w.Ended(w.now, "p1", "once more")
	w.Ended(w.now, "p9", "never heard of")
	w.take()
	require.Empty(t, w.told())
	w.idle()
}

// TestLocalLookups ask only the holder of a claim that is not known as confirmed.
func TestLocalLookups(t *testing.T) {
	w := start(t, "n2", "n3")
	held := w.claims("n2", "shop", true, nil)
	require.Equal(t, held, w.ok(w.lookup("shop", false)).Claim)
	w.quiet()

	soon := w.claims("n2", "bank", false, nil)
	id := w.lookup("bank", false)
	w.waits(id)
	w.answer(w.asked("n2"), w.holds(soon, false))
	w.failed(id, errs.NotFound, "nobody holds") // it has not happened yet
	id = w.lookup("bank", false)
	w.answer(w.asked("n2"), w.holds(soon, true))
	require.Equal(t, soon, w.ok(id).Claim)
	w.idle()
}

// TestAConfirmedClaimBehindABetterOne that is none.
func TestAConfirmedClaimBehindABetterOne(t *testing.T) {
	w := start(t, "n2", "n3")
	held := w.claims("n2", "shop", true, nil)
	above := w.claims("n3", "shop", false, func(c *memdb.Claim) { c.Epoch = 1 })
	id := w.lookup("shop", false)
	w.answer(w.asked("n3"), w.holds(above, false))
	require.Equal(t, held, w.ok(id).Claim)
	w.idle()
}

// TestALookupNeverGoesBack: what its holder says to be gone stays gone, and of two
// values a lookup shows the one that the next lookup shows too.
func TestALookupNeverGoesBack(t *testing.T) {
	w := start(t, "n2")
	first := w.claims("n2", "shop", false, func(c *memdb.Claim) { c.Value = one })
	id := w.lookup("shop", false)
	w.answer(w.asked("n2"), Told{Position: memdb.Position{Incarnation: 1, Seq: 2}})
	w.waits(id)
	w.gives("n2", "shop")
	w.failed(id, errs.NotFound, "")

	second := w.claims("n2", "shop", false, func(c *memdb.Claim) { c.Value, c.Stamp = one, 9 })
	id = w.lookup("shop", false)
	newer := second
	newer.Value = two
	w.answer(w.asked("n2"), Told{Claim: &newer, Confirmed: true, Position: memdb.Position{Incarnation: 1, Seq: 4}})
	require.Equal(t, one, w.ok(id).Claim.Value, "its change is on the way here")
	w.says("n2", 3)
	require.Equal(t, one, w.ok(w.lookup("shop", false)).Claim.Value)
	require.NotEqual(t, first.Stamp, second.Stamp)
	w.idle()
}

// TestAnotherClaimOfTheSameNode than the one that is known here: a lookup waits
// until it has come.
func TestAnotherClaimOfTheSameNode(t *testing.T) {
	w := start(t, "n2")
	old := w.claims("n2", "shop", false, nil)
	id := w.lookup("shop", false)
	fresh := old
	fresh.Stamp, fresh.Since = 7, 3
	w.answer(w.asked("n2"), Told{Claim: &fresh, Confirmed: true, Position: memdb.Position{Incarnation: 1, Seq: 3}})
	w.waits(id)
	w.gives("n2", "shop")
	w.waits(id)
	w.claims("n2", "shop", true, func(c *memdb.Claim) { c.Stamp = 7 })
	require.Equal(t, fresh, w.ok(id).Claim)

	w.claims("n2", "bank", false, nil)
	id = w.lookup("bank", false)
	call := w.asked("n2")
	w.gives("n2", "bank")
	w.claims("n2", "bank", false, func(c *memdb.Claim) { c.Stamp = 8 })
	w.answer(call, Told{Claim: &memdb.Claim{Name: "bank", Node: "n2", Stamp: 1}, Confirmed: true, Position: memdb.Position{Incarnation: 1, Seq: 4}})
	w.waits(id) // what it told is over: it is asked again
	w.answer(w.asked("n2"), w.holds(memdb.Claim{Name: "bank", Node: "n2", Stamp: 8}, true))
	require.Equal(t, uint64(8), w.ok(id).Claim.Stamp)
	w.idle()
}

// TestALookupInTrouble ends when its time does, and says who could not be asked.
func TestALookupInTrouble(t *testing.T) {
	w := start(t, "n2")
	w.claims("n2", "shop", false, nil)
	id := w.lookup("shop", false)
	w.fail(w.asked("n2"))
	w.pass(askAgain)
	call := w.asked("n2")
	w.pass(patience)
	w.failed(id, errs.NodeUnavailable, "node n2 may hold the name")
	w.fail(call)
	w.claims("n2", "bank", false, nil)
	id = w.lookup("bank", false)
	call = w.asked("n2")
	w.pass(patience)
	w.failed(id, errs.Timeout, "look again")
	w.fail(call)
	w.idle()
}

// TestConsistentLookups ask all that take part; who fails is not waited for.
func TestConsistentLookups(t *testing.T) {
	w := start(t, "n2", "n3")
	w.ok(func() uint64 { id := w.register(Register{Name: "shop"}); w.ack("n2", "n3"); return id }())
	id := w.lookup("shop", true)
	a, b := w.asked("n2"), w.asked("n3")
	w.answer(a, w.none("n2"))
	w.fail(b)
	w.waits(id)
	require.NoError(t, w.db.Hide("n3"))
	w.alive("n2")
	require.Equal(t, "n1", w.ok(id).Claim.Node)

	w.alive("n2", "n3")
	theirs := memdb.Claim{Name: "bank", Node: "n3", Stamp: 1}
	id = w.lookup("bank", true)
	w.answer(w.asked("n2"), w.none("n2"))
	w.answer(w.asked("n3"), w.holds(theirs, true))
	require.Equal(t, theirs, w.ok(id).Claim, "though its row has not come here")

	id = w.lookup("bank", true)
	w.answer(w.asked("n2"), w.none("n2"))
	w.answer(w.asked("n3"), w.holds(theirs, false))
	w.failed(id, errs.NotFound, "")
	w.ok(func() uint64 { id := w.unregister("shop"); w.ack("n2", "n3"); return id }())
	w.idle()
}

// TestHealing: the worse of two claims goes, when the better one's node has said
// that it holds, and by which rule is told.
func TestHealing(t *testing.T) {
	for why, change := range map[string]func(c *memdb.Claim){
		"its epoch 1 is above 0":          func(c *memdb.Claim) { c.Epoch, c.Stamp = 1, 1<<51 },
		"it was registered 1.5ms earlier": func(c *memdb.Claim) { c.Stamp -= 1500 },
		"node n0 comes before node n1":    func(*memdb.Claim) {},
	} {
		t.Run(why, func(t *testing.T) {
			w := start(t)
			w.ok(w.register(Register{Name: "shop", Value: one}))
			own, _ := w.own("shop")
			w.told()
			require.NoError(t, w.db.Show("n0", memdb.Position{Incarnation: 1, Seq: 1}))
			w.alive("n0")
			theirs := w.claims("n0", "shop", true, func(c *memdb.Claim) { c.Stamp = own.Stamp; change(c) })
			call := w.asked("n0")
			w.answer(call, w.holds(theirs, false)) // it may yet lose
			_, has := w.own("shop")
			require.True(t, has)
			w.pass(askAgain)
			w.answer(w.asked("n0"), w.holds(theirs, true))
			require.Len(t, w.events, 2)
			require.Contains(t, w.events[0].Why, why)
			require.Equal(t, &theirs, w.events[0].Winner)
			require.Equal(t, own.Claim, w.events[0].Claim)
			require.Equal(t, "NameConflict shop, NameUnregistered shop", w.told())
			w.ack("n0")
			w.idle()
		})
	}
}

// TestTheBetterOneStays, and asks nobody; its watermark alone makes a claim better
// too.
func TestTheBetterOneStays(t *testing.T) {
	w := start(t)
	w.ok(w.register(Register{Name: "shop"}))
	w.ok(w.register(Register{Name: "bank"}))
	w.alive("n2")
	require.NoError(t, w.db.Show("n2", memdb.Position{Incarnation: 1, Seq: 2}))
	w.claims("n2", "shop", true, func(c *memdb.Claim) { c.Stamp = 1 << 51 })
	early := w.claims("n2", "bank", false, nil) // not confirmed, for all that is known
	w.quiet()
	w.says("n2", 2)
	w.answer(w.asked("n2"), w.holds(early, true))
	require.Equal(t, "NameRegistered shop, NameRegistered bank, NameConflict bank, NameUnregistered bank", w.told())
	w.gives("n2", "shop")
	w.ack("n2")
	w.idle()
}

// TestANewValueThatIsTooLate: the claim has lost while the value was on its way.
func TestANewValueThatIsTooLate(t *testing.T) {
	w := start(t, "n3")
	w.register(Register{Name: "shop", Value: one})
	w.ack("n3")
	id := w.register(Register{Name: "shop", Value: two, Replace: true})
	require.NoError(t, w.db.Show("n2", memdb.Position{}))
	w.alive("n2", "n3")
	theirs := w.claims("n2", "shop", true, nil)
	w.answer(w.asked("n2"), w.holds(theirs, true))
	require.False(t, w.failed(id, errs.NameTaken, "held by node n2").Definite())
	w.ack("n2", "n3")
	w.idle()
}

// TestEpochsDoNotWaitInACircle: of two nodes each waits for a claim of the other's
// that is better by its epoch, and made behind the one that waits.
func TestEpochsDoNotWaitInACircle(t *testing.T) {
	w := start(t, "n2")
	a := w.register(Register{Name: "a"})
	b := w.register(Register{Name: "b", Epoch: 1})
	w.claims("n2", "b", false, func(c *memdb.Claim) { c.Stamp = 1 })
	theirs := w.claims("n2", "a", false, func(c *memdb.Claim) { c.Stamp, c.Epoch = 2, 1 })
	w.answer(w.asked("n2"), w.holds(theirs, false))
	w.ack("n2")
	w.ok(b)
	w.waits(a)
	own, _ := w.own("a")
	require.False(t, own.Confirmed)
	w.ack("n2")
	w.waits(a)
	w.gives("n2", "b")
	w.says("n2", 2)
	w.answer(w.asked("n2"), w.holds(theirs, true))
	w.failed(a, errs.NameTaken, "node n2")
	w.ack("n2")
	w.idle()
}

// TestTheClock of a claim is behind all that was seen, and behind the wall clock.
func TestTheClock(t *testing.T) {
	w := start(t, "n2")
	later := uint64(w.now.Add(time.Hour).UnixMicro())
	w.claims("n2", "bank", true, func(c *memdb.Claim) { c.Stamp = later })
	var stamps []uint64
	for i := range 3 {
		w.register(Register{Name: fmt.Sprint("shop", i)})
		w.ack("n2")
		own, _ := w.own(fmt.Sprint("shop", i))
		stamps = append(stamps, own.Stamp)
	}
	require.Equal(t, []uint64{later + 1, later + 2, later + 3}, stamps)
	w.now = w.now.Add(2 * time.Hour)
	w.register(Register{Name: "last"})
	w.ack("n2")
	own, _ := w.own("last")
	require.Equal(t, w.now, own.Registered())
	w.idle()
}

// TestAskBounds: a question has at most so many names, and more are asked for in
// several.
func TestAskBounds(t *testing.T) {
	w := start(t, "n2")
	names := make([]string, askMost+1)
	for i := range names {
		names[i] = fmt.Sprintf("name%03d", i)
		w.claims("n2", names[i], false, nil)
	}
	_, err := w.Handle("n2", &Ask{names})
	require.Equal(t, errs.TooLarge, errs.KindOf(err))
	answer, err := w.Handle("n2", &Ask{names[1:]})
	require.NoError(t, err)
	require.Len(t, answer.Told, askMost)
	answer, err = w.Handle("n2", &Ask{})
	require.NoError(t, err)
	require.Empty(t, answer.Told)

	for i, name := range names {
		w.Lookup(w.now, Lookup{ID: uint64(i) + 1, Name: name, Deadline: w.now.Add(patience)})
	}
	w.take()
	require.Len(t, w.calls, 2)
	require.Len(t, w.calls[0].Ask.Names, askMost)
	require.Equal(t, names[askMost:], w.calls[1].Ask.Names)
	for _, call := range w.calls {
		w.fail(call)
	}
	w.calls = nil
	w.pass(patience)
	require.Len(t, w.done, len(names))
	for _, call := range w.calls {
		w.fail(call)
	}
	w.idle()
}

// TestHostileAnswers are as good as none.
func TestHostileAnswers(t *testing.T) {
	foreign := memdb.Claim{Name: "shop", Node: "n3", Stamp: 1}
	renamed := memdb.Claim{Name: "bank", Node: "n2", Stamp: 1}
	for name, answer := range map[string]*Answer{
		"none": nil, "too short": {}, "too long": {make([]Told, 2)},
		"another's claim": {[]Told{{Claim: &foreign, Confirmed: true}}}, "another's name": {[]Told{{Claim: &renamed, Confirmed: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, "n2", "n3")
			w.claims("n2", "shop", true, nil)
			id := w.register(Register{Name: "shop"})
			w.Answered(w.now, w.asked("n2").ID, answer, nil)
			w.take()
			w.waits(id)
			w.Answered(w.now, 999, answer, nil) // nobody asked
			w.pass(patience)
			require.Contains(t, w.done, id)
			require.NotEqual(t, errs.NameTaken, errs.KindOf(w.done[id].Err), "nothing is refused on that")
			_, has := w.own("shop")
			require.False(t, has)
			for _, call := range w.calls {
				w.fail(call)
			}
			w.idle()
		})
	}
}

// TestBusy says what is under way.
func TestBusy(t *testing.T) {
	w := start(t, "n2")
	require.Empty(t, w.Busy())
	w.register(Register{Name: "shop"})
	require.Equal(t, "1 claims not settled", w.Busy())
	w.ack("n2")
	w.unregister("shop")
	require.Equal(t, "2 acknowledgements", w.Busy())
	w.ack("n2")
	w.lookup("shop", true)
	require.Equal(t, "1 lookups", w.Busy())
	w.answer(w.asked("n2"), w.none("n2"))
	w.idle()
}

// TestNoTicksWithoutNeed: a core with nothing to do asks for no tick, and one that
// waits for an answer does not ask for one again and again.
func TestNoTicksWithoutNeed(t *testing.T) {
	w := start(t, "n2")
	require.True(t, w.Next().IsZero())
	w.Tick(w.now)
	w.register(Register{Name: "shop"})
	require.Equal(t, w.now.Add(patience), w.Next())
	w.ack("n2")
	w.pass(patience)
	require.True(t, w.Next().IsZero())
	w.idle()
}

func TestValid(t *testing.T) {
	require.NoError(t, ValidName("name", strings.Repeat("é", 127)+"/"))
	for _, name := range []string{"", strings.Repeat("x", 256), "\xff", "a\x00", "a\u0085"} {
		err := ValidName("name", name)
		require.Equal(t, "name", errs.From(err).Param, "%q", name)
	}
	nested := func(n int) json.RawMessage {
		return json.RawMessage(strings.Repeat("[", n) + strings.Repeat("]", n))
	}
	for _, value := range []json.RawMessage{nil, one, nested(memdb.MaxValueDepth), json.RawMessage(`"` + strings.Repeat("[", 60_000) + `"`)} {
		require.NoError(t, ValidValue("value", value))
	}
	for _, value := range []json.RawMessage{json.RawMessage("{"), nested(memdb.MaxValueDepth + 1), nested(20_000), json.RawMessage(`"` + strings.Repeat("x", memdb.MaxValueBytes) + `"`)} {
		require.Equal(t, "value", errs.From(ValidValue("value", value)).Param)
	}
}
