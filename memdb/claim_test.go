package memdb

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
)

// claim stores claims of the node itself, each by its own change.
func claim(t require.TestingT, db *DB, stamp uint64, names ...string) {
	for _, name := range names {
		_, err := db.Update(func(tx *Tx) error { return tx.PutClaim(Claim{Name: name, Node: db.self, Stamp: stamp}) })
		require.NoError(t, err)
	}
}

// theirs is a change by which another node claims a name, and so its number.
func theirs(node, name string, seq, stamp uint64) Change {
	raw, err := json.Marshal(Claim{Name: name, Node: node, Stamp: stamp, Since: seq})
	if err != nil {
		panic(err)
	}
	return Change{Seq: seq, Table: names, ID: name, Row: raw}
}

// give applies changes of another node, of incarnation 1.
func give(t require.TestingT, db *DB, node string, confirmed uint64, changes ...Change) Applied {
	from := db.Position(node).Seq
	if len(changes) > 0 {
		from = changes[0].Seq - 1
	}
	a, err := db.Apply(node, Batch{Incarnation: 1, From: from, Changes: changes, Confirmed: confirmed})
	require.NoError(t, err)
	return a
}

// text is claims as text: name, node, and whether confirmed.
func text(list ...Claimed) []string {
	all := []string{}
	for _, c := range list {
		all = append(all, fmt.Sprintf("%s %s %t", c.Name, c.Node, c.Confirmed))
	}
	return all
}

// TestBetter: the rule as a table. Each claim is better than all below it, and
// no claim is better than itself.
func TestBetter(t *testing.T) {
	claims := []Claimed{
		{Claim{Node: "n9", Epoch: 3, Stamp: 99}, false},
		{Claim{Node: "n9", Epoch: 2, Stamp: 50}, true},
		{Claim{Node: "n9", Epoch: 2, Stamp: 51}, true},
		{Claim{Node: "n1", Epoch: 2, Stamp: 1}, false},
		{Claim{Node: "n2", Epoch: 2, Stamp: 1}, false},
		{Claim{Node: "n1", Epoch: 2, Stamp: 2}, false},
		{Claim{Node: "n1", Epoch: 1, Stamp: 1}, true},
		{Claim{Node: "n1", Stamp: 0}, true},
		{Claim{Node: "n1", Stamp: 0}, false},
	}
	for i, a := range claims {
		for j, b := range claims {
			require.Equal(t, i < j, Better(a, b), "%d and %d", i, j)
		}
	}
}

func TestClaims(t *testing.T) {
	db := open(t, "n1")
	holder := func(name string) string {
		c, found := db.View().Holder(name)
		if !found {
			return ""
		}
		return text(c)[0]
	}
	require.Empty(t, holder("a"))
	claim(t, db, 10, "a", "b")
	require.Equal(t, "a n1 false", holder("a"))
	give(t, db, "n2", 0, theirs("n2", "a", 1, 12), theirs("n2", "c", 2, 12))
	require.Equal(t, "a n1 false", holder("a"), "the earlier")
	give(t, db, "n3", 0, theirs("n3", "a", 1, 9), theirs("n3", "ab", 2, 9))
	require.Equal(t, "a n3 false", holder("a"))
	give(t, db, "n2", 1)
	require.Equal(t, "a n2 true", holder("a"), "the confirmed")
	require.NoError(t, db.Confirm(1))
	require.Equal(t, "a n1 true", holder("a"))
	require.Equal(t, "b n1 false", holder("b"))
	require.NoError(t, db.Confirm(0))
	require.EqualValues(t, 1, db.Confirmed("n1"), "a watermark never falls")

	view := db.View()
	require.Equal(t, []string{"a n2 true", "a n3 false"}, text(view.Claimants("a", "n1")...), "the best first")
	require.Equal(t, []string{"a n1 true", "a n2 true", "a n3 false"}, text(view.Claimants("a", "")...))
	require.Equal(t, []string{"a n1 true", "a n3 false"}, text(view.Claimants("a", "n2")...))
	require.Empty(t, view.Claimants("nobody's", ""))
	require.Equal(t, []string{"a"}, db.Contested(), "by two others, but once")

	require.NoError(t, db.Hide("n2"))
	require.Equal(t, []string{"a n3 false"}, text(db.View().Claimants("a", "n1")...))
	hidden, ok := db.View().Claim("a", "n2")
	require.True(t, ok)
	require.Equal(t, []string{"a n2 true"}, text(hidden))
	_, ok = db.View().Claim("b", "n2")
	require.False(t, ok)
	require.Empty(t, holder("c"), "hidden")
	require.Equal(t, []string{"a"}, db.Contested())
	require.NoError(t, db.Hide("n3"))
	require.Empty(t, db.Contested())
	require.Equal(t, []string{"a n2 true"}, text(view.Claimants("a", "n1")...)[:1], "a view never changes")
}

// TestHolders: one for each name, in order, of a prefix and behind a name.
func TestHolders(t *testing.T) {
	db := open(t, "n1")
	claim(t, db, 5, "svc/b", "svc", "svc/", "a", "x")
	give(t, db, "n2", 0, theirs("n2", "svc/b", 1, 1), theirs("n2", "svc/a", 2, 1), theirs("n2", "x", 3, 9), theirs("n2", "svd", 4, 1))
	give(t, db, "n3", 0, theirs("n3", "svc/b", 1, 3), theirs("n3", "hidden", 2, 1))
	require.NoError(t, db.Hide("n3"))
	list := func(prefix, after string, limit int) []string {
		all := []string{}
		for c := range db.View().Holders(prefix, after) {
			all = append(all, c.Name+" "+c.Node)
			if len(all) == limit {
				break
			}
		}
		return all
	}
	require.Equal(t, []string{"a n1", "svc n1", "svc/ n1", "svc/a n2", "svc/b n2", "svd n2", "x n1"}, list("", "", 0))
	require.Equal(t, []string{"svc/ n1", "svc/a n2", "svc/b n2"}, list("svc/", "", 0))
	require.Equal(t, []string{"svc/b n2"}, list("svc/", "svc/a", 0))
	require.Equal(t, []string{"svc/a n2", "svc/b n2"}, list("svc/", "svc/", 0))
	require.Equal(t, []string{"svc/ n1"}, list("svc/", "a", 1), "behind a name before the prefix")
	require.Empty(t, list("svc/", "svc/b", 0))
	require.Empty(t, list("svc/", "x", 0), "behind a name after the prefix")
	require.Empty(t, list("nobody's", "", 0))
	require.Equal(t, []string{"svd n2", "x n1"}, list("", "svc/b", 2))
}

// TestPutClaim: a claim is the change that made it, and one that replaces it
// keeps its standing; one made after it was withdrawn does not.
func TestPutClaim(t *testing.T) {
	db := open(t, "n1")
	put(t, db, "box")
	_, err := db.Update(func(tx *Tx) error {
		require.NoError(t, tx.PutSandbox(box("n1", "another")))
		require.NoError(t, tx.PutClaim(Claim{Name: "a", Node: "n1", Stamp: 7, Value: json.RawMessage(`1`)}))
		c, ok := tx.View().Claim("a", "n1")
		require.True(t, ok, "a transaction sees what it did")
		require.EqualValues(t, 3, c.Since)
		return tx.PutClaim(Claim{Name: "b", Node: "n1", Stamp: 8})
	})
	require.NoError(t, err)
	b, _ := db.View().Claim("b", "n1")
	require.EqualValues(t, 4, b.Since)
	require.NoError(t, db.Confirm(3))
	_, err = db.Update(func(tx *Tx) error {
		return tx.PutClaim(Claim{Name: "a", Node: "n1", PID: "p", Stamp: 99, Since: 99, Value: json.RawMessage(`2`)})
	})
	require.NoError(t, err)
	a, _ := db.View().Claim("a", "n1")
	require.Equal(t, Claimed{Claim{Name: "a", Node: "n1", PID: "p", Stamp: 7, Since: 3, Value: json.RawMessage(`2`)}, true}, a)
	require.True(t, a.SameHolder(Claim{Node: "n1", PID: "p", Value: json.RawMessage("1")}))
	require.False(t, a.SameHolder(Claim{Node: "n1"}))
	require.Equal(t, time.UnixMicro(7).UTC(), a.Registered())

	_, err = db.Update(func(tx *Tx) error {
		require.NoError(t, tx.DeleteClaim("nobody's"))
		require.NoError(t, tx.DeleteClaim("a"))
		return tx.PutClaim(Claim{Name: "a", Node: "n1", Stamp: 50})
	})
	require.NoError(t, err)
	a, _ = db.View().Claim("a", "n1")
	require.Equal(t, Claimed{Claim{Name: "a", Node: "n1", Stamp: 50, Since: 7}, false}, a)
	_, err = db.Update(func(tx *Tx) error { return tx.PutClaim(Claim{Name: "a", Node: "n2"}) })
	require.Equal(t, errs.Internal, errs.KindOf(err))
}

// TestApplied tells what an origin, and this node's names, are to hear of it.
func TestApplied(t *testing.T) {
	db := open(t, "n1")
	claim(t, db, 10, "mine")
	give(t, db, "n3", 0, theirs("n3", "free", 1, 5), theirs("n3", "mine", 2, 11))
	one := theirs("n2", "free", 1, 20)
	got := give(t, db, "n2", 0, one)
	require.Equal(t, Applied{Position: Position{1, 1}, Beaten: []Rival{{"free", "n3"}}, Stamp: 20}, got)
	got = give(t, db, "n2", 0, one)
	require.Equal(t, []Rival{{"free", "n3"}}, got.Beaten, "again: the answer may have been lost")

	got = give(t, db, "n2", 0, theirs("n2", "mine", 2, 15), theirs("n2", "other", 3, 30))
	require.Equal(t, Applied{
		Position: Position{1, 3}, Beaten: []Rival{{"mine", "n1"}}, Contested: []string{"mine"}, Stamp: 30,
	}, got)
	got = give(t, db, "n2", 2, theirs("n2", "mine", 2, 15))
	require.Equal(t, Applied{Position: Position{1, 3}, Contested: []string{"mine"}, Stamp: 15, Rose: true}, got, "confirmed, it is not beaten")
	require.False(t, give(t, db, "n2", 2).Rose)
	require.False(t, give(t, db, "n2", 1).Rose)
	require.EqualValues(t, 2, db.Confirmed("n2"))

	// What is withdrawn is told to this node's names, and beats nobody.
	got = give(t, db, "n2", 2, Change{Seq: 4, Table: names, ID: "mine", Deleted: true})
	require.Equal(t, Applied{Position: Position{1, 4}, Contested: []string{"mine"}}, got)
	// A claim that is hidden beats none but this node's own.
	require.NoError(t, db.Hide("n3"))
	got = give(t, db, "n2", 2, theirs("n2", "free", 5, 20), theirs("n2", "mine", 6, 12))
	require.Equal(t, []Rival{{"mine", "n1"}}, got.Beaten)
	// A gap: nothing of it is there to be beaten, and the watermark is known all the same.
	got = give(t, db, "n2", 7, theirs("n2", "late", 9, 40))
	require.Equal(t, Applied{Position: Position{1, 6}, Rose: true}, got)
	// A claim from beyond the year 2200 is refused: all clocks would follow it.
	_, err := db.Apply("n2", Batch{Incarnation: 1, From: 6, Changes: []Change{theirs("n2", "late", 7, maxStamp+1)}})
	require.Equal(t, errs.BadParameter, errs.KindOf(err))
	require.Equal(t, Position{1, 6}, db.Position("n2"))
}

// TestInstalled: a snapshot tells as much as changes do, also one that is known.
func TestInstalled(t *testing.T) {
	db := open(t, "n1")
	claim(t, db, 10, "mine")
	s := Snapshot{Position: Position{1, 9}, Confirmed: 3, Rows: []Change{theirs("n2", "mine", 8, 15), theirs("n2", "other", 2, 30)}}
	want := Applied{Position: Position{1, 9}, Beaten: []Rival{{"mine", "n1"}}, Contested: []string{"mine"}, Stamp: 30, Rose: true}
	got, err := db.Install("n2", s)
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = db.Install("n2", s)
	require.NoError(t, err)
	want.Rose = false
	require.Equal(t, want, got, "again")

	s.Confirmed = 8 // risen since, with no change
	got, err = db.Install("n2", s)
	require.NoError(t, err)
	require.True(t, got.Rose)
	require.Empty(t, got.Beaten, "it is confirmed")
	require.EqualValues(t, 8, db.Confirmed("n2"))
	other, _ := db.View().Holder("mine")
	require.Equal(t, "n2", other.Node)

	// The watermark of an incarnation that is over says nothing of this one's.
	give2 := func(s Snapshot) Applied {
		a, err := db.Install("n2", s)
		require.NoError(t, err)
		return a
	}
	got = give2(Snapshot{Position: Position{2, 4}, Rows: []Change{theirs("n2", "mine", 4, 15)}})
	require.False(t, got.Rose)
	require.Zero(t, db.Confirmed("n2"))
	got = give2(Snapshot{Position: Position{1, 99}, Confirmed: 99})
	require.Equal(t, Applied{Position: Position{2, 4}}, got)
	require.Zero(t, db.Confirmed("n2"))
}

// TestSince: what is still in the log of an origin's changes, own or another's.
func TestSince(t *testing.T) {
	saved := otherLogLimits
	defer func() { otherLogLimits = saved }()
	otherLogLimits = journal.Limits{Entries: 3}
	n1, n2 := open(t, "n1"), open(t, "n2")
	require.NoError(t, n1.SetIncarnation(1))
	put(t, n1, "a", "b")
	take := func() {
		p := n2.Position("n1")
		b, ok := n1.Since("n1", p, 0)
		require.True(t, ok)
		_, err := n2.Apply("n1", b)
		require.NoError(t, err)
	}
	since := func(p Position, limit int) string {
		b, ok := n2.Since("n1", p, limit)
		if !ok {
			return "no"
		}
		text := fmt.Sprintf("%d behind %d:", b.Incarnation, b.From)
		for _, c := range b.Changes {
			text += fmt.Sprintf(" %d", c.Seq)
		}
		return text
	}
	require.Equal(t, "0 behind 0:", since(Position{}, 0), "nothing is known")
	take()
	require.NoError(t, n1.Confirm(2))
	take()
	require.Equal(t, "1 behind 0: 1 2", since(Position{}, 0))
	require.Equal(t, "1 behind 0: 1 2", since(Position{0, 9}, 0), "of an incarnation that is over all is new")
	require.Equal(t, "1 behind 1: 2", since(Position{1, 1}, 0))
	require.Equal(t, "1 behind 0: 1", since(Position{1, 0}, 1), "up to a limit")
	require.Equal(t, "1 behind 2:", since(Position{1, 2}, 0))
	require.Equal(t, "1 behind 7:", since(Position{1, 7}, 0), "who asks knows more")
	b, _ := n2.Since("n1", Position{1, 2}, 0)
	require.EqualValues(t, 2, b.Confirmed, "the watermark goes with it")

	put(t, n1, "c", "d")
	take()
	require.Equal(t, "no", since(Position{1, 0}, 0), "the log does not reach back")
	require.Equal(t, "1 behind 1: 2 3 4", since(Position{1, 1}, 0))
	// A snapshot leaves nothing to tell but itself; what comes after is told.
	put(t, n1, "e")
	s, err := n1.Rows("n1")
	require.NoError(t, err)
	_, err = n2.Install("n1", s)
	require.NoError(t, err)
	require.Equal(t, "no", since(Position{1, 4}, 0))
	put(t, n1, "f")
	take()
	require.Equal(t, "1 behind 5: 6", since(Position{1, 5}, 0))
	require.Equal(t, "no", since(Position{1, 4}, 0))
	// A snapshot that is known already takes nothing away.
	_, err = n2.Install("n1", s)
	require.NoError(t, err)
	require.Equal(t, "1 behind 5: 6", since(Position{1, 5}, 0))
	// A repeat is not logged twice, and what was left out of it is.
	all, _ := n1.Since("n1", Position{1, 5}, 0)
	put(t, n1, "g")
	more, _ := n1.Since("n1", Position{1, 5}, 0)
	for _, b := range []Batch{all, more, all} {
		_, err := n2.Apply("n1", b)
		require.NoError(t, err)
	}
	require.Equal(t, "1 behind 5: 6 7", since(Position{1, 5}, 0))
	// A new incarnation has a log of its own.
	require.NoError(t, n1.SetIncarnation(2))
	take()
	require.Equal(t, "no", since(Position{1, 6}, 0), "7 changes do not fit")
	require.Equal(t, "2 behind 4: 5 6 7", since(Position{2, 4}, 0))
	require.NoError(t, n2.Drop("n1", 3))
	require.Equal(t, "no", since(Position{2, 7}, 0), "an empty snapshot says that all is gone")
}

// TestForgetNames: the names go, and how far all had come; the other rows stay.
// When the origin is back it says all again.
func TestForgetNames(t *testing.T) {
	n1, n2 := open(t, "n1"), open(t, "n2")
	require.NoError(t, n1.SetIncarnation(1))
	put(t, n1, "box", "gone")
	claim(t, n1, 5, "a", "b")
	claim(t, n2, 5, "mine")
	all, ok := n1.Since("n1", Position{}, 0)
	require.True(t, ok)
	all.Confirmed = 3
	_, err := n2.Apply("n1", all)
	require.NoError(t, err)
	require.NoError(t, n2.Hide("n1"))
	require.NoError(t, n2.ForgetNames("n1"))
	_, ok = n2.View().Claim("a", "n1")
	require.False(t, ok)
	_, ok = n2.View().Claim("mine", "n2")
	require.True(t, ok)
	require.Equal(t, []string{"box n1 unknown", "gone n1 unknown"}, ids(n2))
	require.Equal(t, Position{1, 0}, n2.Position("n1"))
	_, ok = n2.Since("n1", Position{}, 0)
	require.False(t, ok, "nobody is told what is forgotten")

	_, err = n1.Update(func(tx *Tx) error { return tx.DeleteSandbox("gone") })
	require.NoError(t, err)
	all, _ = n1.Since("n1", Position{1, 4}, 0)
	a, err := n2.Apply("n1", all)
	require.NoError(t, err)
	require.Equal(t, Position{1, 0}, a.Position, "a gap: it is told to say all again")
	all, _ = n1.Since("n1", a.Position, 0)
	require.NoError(t, n2.Show("n1", Position{1, 5}))
	_, err = n2.Apply("n1", all)
	require.NoError(t, err)
	require.Equal(t, []string{"box n1 running"}, ids(n2))
	require.Equal(t, []string{"a n1 true", "b n1 false"}, text(append(n2.View().Claimants("a", ""), n2.View().Claimants("b", "")...)...), "what was confirmed is")
	b, ok := n2.Since("n1", Position{1, 4}, 0)
	require.True(t, ok)
	require.Len(t, b.Changes, 1)
	require.NoError(t, n2.ForgetNames("n7"), "of whom nothing is known")
}

// TestWhatBecomesShown is told, by changes and by a snapshot: the names of the
// origin count from then on.
func TestWhatBecomesShown(t *testing.T) {
	db := open(t, "n1")
	require.NoError(t, db.Show("n2", Position{1, 2}))
	require.False(t, give(t, db, "n2", 0, theirs("n2", "a", 1, 5)).Shown, "not there yet")
	require.True(t, give(t, db, "n2", 0, theirs("n2", "b", 2, 5)).Shown)
	require.False(t, give(t, db, "n2", 0, theirs("n2", "c", 3, 5)).Shown, "it was shown already")
	require.NoError(t, db.Show("n2", Position{1, 9}))
	require.Len(t, db.View().Claimants("a", ""), 1, "connected again, it is shown all the while")
	require.NoError(t, db.Hide("n2"))
	require.NoError(t, db.Show("n2", Position{1, 9}))
	require.Empty(t, db.View().Claimants("a", ""), "it was dead: nobody sees its past")
	s := Snapshot{Position: Position{1, 9}}
	for _, shown := range []bool{true, false} {
		a, err := db.Install("n2", s)
		require.NoError(t, err)
		require.Equal(t, shown, a.Shown)
	}
}
