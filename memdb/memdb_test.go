package memdb

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
)

// open opens the state of a node that knows n1 to n4 to be alive.
func open(t require.TestingT, self string) *DB {
	db, err := Open(self)
	require.NoError(t, err)
	for _, node := range []string{"n1", "n2", "n3", "n4"} {
		require.NoError(t, db.Show(node, Position{}))
	}
	return db
}

// box is a sandbox's row.
func box(node, id string) Sandbox { return Sandbox{ID: id, Node: node, Status: SandboxRunning} }

// put stores sandboxes of the node itself.
func put(t require.TestingT, db *DB, ids ...string) Position {
	position, err := db.Update(func(tx *Tx) error {
		for _, id := range ids {
			if err := tx.PutSandbox(box(db.self, id)); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	return position
}

// since are a node's own changes behind a number.
func since(db *DB, from uint64) []Change {
	items, _ := db.Log().TryRead(from, 1<<20)
	changes := make([]Change, len(items))
	for i, item := range items {
		changes[i] = item.Value
		changes[i].Seq = item.Seq
	}
	return changes
}

func ids(db *DB) []string {
	list := []string{}
	for _, s := range db.View().Sandboxes() {
		list = append(list, fmt.Sprintf("%s %s %s", s.ID, s.Node, s.Status))
	}
	return list
}

func TestUpdate(t *testing.T) {
	db := open(t, "n1")
	require.NoError(t, db.SetIncarnation(7))
	position, err := db.Update(func(tx *Tx) error {
		require.NoError(t, tx.PutNode(Node{Name: "n1", HTTP: "h"}))
		require.NoError(t, tx.PutProcess(Process{PID: "n1.7.1", Node: "n1"}))
		return tx.PutSandbox(box("n1", "b"))
	})
	require.NoError(t, err)
	require.Equal(t, Position{7, 3}, position)
	require.Equal(t, Position{7, 4}, put(t, db, "a"))
	require.Equal(t, []string{"a n1 running", "b n1 running"}, ids(db), "sorted by id")
	require.Equal(t, Position{7, 4}, db.Digest()["n1"])
	require.Equal(t, 4, db.View().Len())
	node, ok := db.View().Node("n1")
	require.True(t, ok)
	require.Equal(t, []Node{node}, db.View().Nodes())
	process, ok := db.View().Process("n1.7.1")
	require.True(t, ok)
	require.Equal(t, []Process{process}, db.View().Processes())
	_, ok = db.View().Process("n1.7.2")
	require.False(t, ok)

	before := db.View()
	position, err = db.Update(func(tx *Tx) error {
		require.NoError(t, tx.DeleteProcess("n1.7.1"))
		require.NoError(t, tx.DeleteSandbox("a"))
		return tx.DeleteSandbox("not there") // no change
	})
	require.NoError(t, err)
	require.Equal(t, Position{7, 6}, position)
	require.Equal(t, []string{"b n1 running"}, ids(db))
	require.Len(t, before.Sandboxes(), 2, "a view never changes")

	// All or nothing.
	_, err = db.Update(func(tx *Tx) error {
		require.NoError(t, tx.PutSandbox(box("n1", "c")))
		return tx.PutSandbox(box("n2", "d"))
	})
	require.ErrorContains(t, err, `not node "n1"'s to write`)
	_, err = db.Update(func(tx *Tx) error { return tx.PutSandbox(Sandbox{ID: "x", Node: "n1", Spec: json.RawMessage("{")}) })
	require.ErrorContains(t, err, "cannot be written")
	require.Equal(t, []string{"b n1 running"}, ids(db))
	require.EqualValues(t, 6, db.Log().Last())
	require.ErrorContains(t, db.SetIncarnation(6), "below the present one")
}

// TestApply: another origin's changes, strictly in their order.
func TestApply(t *testing.T) {
	n1, n2 := open(t, "n1"), open(t, "n2")
	put(t, n1, "a", "b", "c")
	_, err := n1.Update(func(tx *Tx) error { return tx.DeleteSandbox("b") })
	require.NoError(t, err)
	all := since(n1, 0)

	at, err := n2.Apply("n1", Batch{Incarnation: 0, From: 1, Changes: all[1:]})
	require.NoError(t, err)
	require.Equal(t, Position{}, at.Position, "a gap before them: the answer tells where to go on")
	at, err = n2.Apply("n1", Batch{Incarnation: 0, From: 0, Changes: all[:2]})
	require.NoError(t, err)
	require.Equal(t, Position{0, 2}, at.Position)
	at, err = n2.Apply("n1", Batch{Incarnation: 0, From: 0, Changes: all})
	require.NoError(t, err)
	require.Equal(t, Position{0, 4}, at.Position, "what was applied is left out")
	require.Equal(t, ids(n1), ids(n2))

	_, err = n2.Apply("n1", Batch{Incarnation: 0, From: 4, Changes: []Change{{Seq: 6}}})
	require.Equal(t, errs.BadParameter, errs.KindOf(err), "out of order")
	_, err = n2.Apply("n2", Batch{Incarnation: 0, From: 0, Changes: nil})
	require.Equal(t, errs.Forbidden, errs.KindOf(err), "nobody else writes one's own rows")
	for what, c := range map[string]Change{
		"unknown table":     {Seq: 5, Table: "nonsense", ID: "x"},
		"the table of ours": {Seq: 5, Table: origins, ID: "x", Row: json.RawMessage(`{}`)},
		"ill-formed":        {Seq: 5, Table: sandboxes, ID: "x", Row: json.RawMessage(`[]`)},
		"no row":            {Seq: 5, Table: sandboxes, ID: "x"},
		"another's row":     {Seq: 5, Table: sandboxes, ID: "x", Row: json.RawMessage(`{"id":"x","node":"n3"}`)},
		"another id":        {Seq: 5, Table: nodes, ID: "x", Row: json.RawMessage(`{"name":"n1"}`)},
		"no id":             {Seq: 5, Table: processes, Row: json.RawMessage(`{"node":"n1"}`)},
	} {
		good := Change{Seq: 5, Table: sandboxes, ID: "good", Row: json.RawMessage(`{"id":"good","node":"n1"}`)}
		c.Seq = 6
		_, err := n2.Apply("n1", Batch{Incarnation: 0, From: 4, Changes: []Change{good, c}})
		require.Error(t, err, what)
		require.NotEqual(t, errs.Internal, errs.KindOf(err), what)
		require.Equal(t, ids(n1), ids(n2), "%s: nothing of it is applied", what)
		_, err = n2.Install("n1", Snapshot{Position: Position{0, 9}, Rows: []Change{c}})
		require.Error(t, err, what)
		require.Equal(t, ids(n1), ids(n2), "%s: nor of a snapshot", what)
	}
}

// TestRebirth: a higher incarnation replaces all that the lower one owned; a
// lower one is over.
func TestRebirth(t *testing.T) {
	n2 := open(t, "n2")
	row := func(id string) Change {
		return Change{Seq: 1, Table: sandboxes, ID: id, Row: json.RawMessage(`{"id":"` + id + `","node":"n1","status":"running"}`)}
	}
	_, err := n2.Apply("n1", Batch{Incarnation: 1, From: 0, Changes: []Change{row("old")}})
	require.NoError(t, err)
	at, err := n2.Apply("n1", Batch{Incarnation: 2, From: 0, Changes: []Change{row("new")}})
	require.NoError(t, err)
	require.Equal(t, Position{2, 1}, at.Position)
	require.Equal(t, []string{"new n1 running"}, ids(n2))
	_, err = n2.Apply("n1", Batch{Incarnation: 1, From: 1, Changes: nil})
	require.Equal(t, errs.Conflict, errs.KindOf(err))
	at, err = n2.Install("n1", Snapshot{Position: Position{1, 99}, Rows: []Change{row("old")}})
	require.NoError(t, err)
	require.Equal(t, Position{2, 1}, at.Position, "an older snapshot changes nothing")
	at, err = n2.Install("n1", Snapshot{Position: Position{3, 5}, Rows: []Change{row("newest")}})
	require.NoError(t, err)
	require.Equal(t, Position{3, 5}, at.Position)
	require.Equal(t, []string{"newest n1 running"}, ids(n2))
	_, err = n2.Install("n2", Snapshot{Position: Position{1, 1}, Rows: nil})
	require.Equal(t, errs.Forbidden, errs.KindOf(err))
}

// TestSnapshot: what Rows says, Install brings elsewhere.
func TestSnapshot(t *testing.T) {
	n1, n2 := open(t, "n1"), open(t, "n2")
	require.NoError(t, n1.SetIncarnation(3))
	put(t, n1, "a", "b")
	put(t, n2, "mine")
	_, err := n1.Update(func(tx *Tx) error { return tx.PutNode(Node{Name: "n1"}) })
	require.NoError(t, err)
	snapshot, err := n1.Rows("n1")
	require.NoError(t, err)
	require.Len(t, snapshot.Rows, 3)
	at, err := n2.Install("n1", snapshot)
	require.NoError(t, err)
	require.Equal(t, snapshot.Position, at.Position)
	require.Equal(t, []string{"a n1 running", "b n1 running", "mine n2 running"}, ids(n2))
	again, err := n2.Rows("n1") // and so does a third node's
	require.NoError(t, err)
	require.Equal(t, snapshot, again)
}

// TestWhatIsShown of an origin that died and came back: its sandboxes keep
// their ids and are unknown, its other rows are gone, and nobody sees its past.
func TestWhatIsShown(t *testing.T) {
	n1 := open(t, "n1")
	n2, err := Open("n2")
	require.NoError(t, err)
	_, err = n1.Update(func(tx *Tx) error {
		require.NoError(t, tx.PutProcess(Process{PID: "n1.1.1", Node: "n1"}))
		require.NoError(t, tx.PutNode(Node{Name: "n1"}))
		return tx.PutSandbox(box("n1", "a"))
	})
	require.NoError(t, err)
	_, err = n2.Apply("n1", Batch{Incarnation: 0, From: 0, Changes: since(n1, 0)})
	require.NoError(t, err)
	shows := func(sandboxes []string, others int) {
		t.Helper()
		require.Equal(t, sandboxes, ids(n2))
		require.Len(t, n2.View().Processes(), others)
		require.Len(t, n2.View().Nodes(), others)
		_, ok := n2.View().Process("n1.1.1")
		require.Equal(t, others == 1, ok)
	}
	shows([]string{"a n1 unknown"}, 0) // a third told it, and n1 may be dead
	require.NoError(t, n2.Show("n1", Position{}))
	shows([]string{"a n1 running"}, 1)
	require.NoError(t, n2.Hide("n1"))
	shows([]string{"a n1 unknown"}, 0)
	dead, _ := n2.View().Sandbox("a")
	require.Equal(t, "node n1 is dead or was not reached yet; it last said: running", dead.Why)
	require.Equal(t, 3, n2.View().Len(), "hidden, not deleted")

	require.NoError(t, n2.Show("n1", Position{0, 4}))
	shows([]string{"a n1 unknown"}, 0)
	back, _ := n2.View().Sandbox("a")
	require.Contains(t, back.Why, "is back")
	put(t, n1, "b")
	_, err = n2.Apply("n1", Batch{Incarnation: 0, From: 3, Changes: since(n1, 3)})
	require.NoError(t, err)
	shows([]string{"a n1 running", "b n1 running"}, 1)

	require.NoError(t, n2.Drop("n1", 0)) // of that incarnation already
	shows([]string{"a n1 running", "b n1 running"}, 1)
	require.NoError(t, n2.Drop("n1", 1))
	shows([]string{}, 0)
	require.Zero(t, n2.View().Len())
}

// TestOneIdOnTwoNodes: which of them is shown does not depend on who looks.
func TestOneIdOnTwoNodes(t *testing.T) {
	db := open(t, "n3")
	give := func(node string, epoch int) {
		_, err := db.Apply(node, Batch{Incarnation: 0, From: 0, Changes: []Change{{Seq: 1, Table: sandboxes, ID: "a", Row: json.RawMessage(fmt.Sprintf(`{"id":"a","node":%q,"epoch":%d}`, node, epoch))}}})
		require.NoError(t, err)
	}
	holder := func() string {
		s, ok := db.View().Sandbox("a")
		require.True(t, ok)
		return s.Node
	}
	give("n2", 1)
	give("n1", 1)
	require.Equal(t, "n1", holder(), "then the name")
	give("n4", 2)
	require.Equal(t, "n4", holder(), "the higher epoch")
	require.NoError(t, db.Hide("n4"))
	require.Equal(t, "n1", holder(), "one that is known")

	_, err := db.Update(func(tx *Tx) error { return tx.PutSandbox(box("n3", "a")) })
	require.Equal(t, errs.AlreadyExists, errs.KindOf(err))

	// Whose row came first may change his own all the same: it is his.
	put(t, db, "c")
	_, err = db.Apply("n1", Batch{Incarnation: 0, From: 1, Changes: []Change{{Seq: 2, Table: sandboxes, ID: "c", Row: json.RawMessage(`{"id":"c","node":"n1"}`)}}})
	require.NoError(t, err)
	_, err = db.Update(func(tx *Tx) error { return tx.PutSandbox(Sandbox{ID: "c", Node: "n3", Status: SandboxFailed}) })
	require.NoError(t, err)
	_, ok := db.View().Sandbox("b")
	require.False(t, ok)
}

func TestPositions(t *testing.T) {
	require.True(t, Position{2, 0}.Covers(Position{1, 9}))
	require.False(t, Position{1, 9}.Covers(Position{2, 0}))
	require.True(t, Position{1, 2}.Covers(Position{1, 2}))
	d := Digest{"n1": {1, 2}, "n2": {1, 1}}
	require.True(t, d.Covers(Digest{"n1": {1, 1}}))
	require.False(t, d.Covers(Digest{"n3": {1, 1}}))
	require.Equal(t, d.Hash(), Digest{"n2": {1, 1}, "n1": {1, 2}, "n3": {}}.Hash(), "the zero position does not count")
	require.NotEqual(t, d.Hash(), Digest{"n1": {1, 2}, "n2": {1, 2}}.Hash())
}

// TestTheLogIsBounded: a peer that is further behind needs a snapshot.
func TestTheLogIsBounded(t *testing.T) {
	saved := logLimits
	defer func() { logLimits = saved }()
	logLimits = journal.Limits{Entries: 3}
	db := open(t, "n1")
	put(t, db, "a", "b", "c", "d", "e")
	items, missed := db.Log().TryRead(0, 10)
	require.Len(t, items, 3)
	require.EqualValues(t, 2, missed)
}
