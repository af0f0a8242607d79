package memdb

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDecrees: copies travel as all rows do, are told to whoever applies them, count
// though their origin is dead, and hide what an unreachable host still has.
func TestDecrees(t *testing.T) {
	n1, n2, n3 := open(t, "n1"), open(t, "n2"), open(t, "n3")
	_, err := n3.Update(func(tx *Tx) error {
		old := box("n3", "far")
		old.UID = "u1"
		return tx.PutSandbox(old)
	})
	require.NoError(t, err)
	for _, db := range []*DB{n1, n2} {
		done, err := db.Apply("n3", Batch{Changes: since(n3, 0)})
		require.NoError(t, err)
		require.Empty(t, done.Decrees)
	}
	decree := Destroyed{UID: "u1", ID: "far", Node: "n1", Host: "n3", By: "n1", Acked: []string{"n1"}}
	_, err = n1.Update(func(tx *Tx) error { return tx.PutDestroyed(decree) })
	require.NoError(t, err)
	_, err = n1.Update(func(tx *Tx) error { return tx.PutDestroyed(Destroyed{UID: "u1", Node: "n2"}) })
	require.Error(t, err, "it is not n1's to write")

	done, err := n2.Apply("n1", Batch{Changes: since(n1, 0)})
	require.NoError(t, err)
	require.Equal(t, []string{"u1"}, done.Decrees)
	require.Equal(t, []Destroyed{decree}, done.Destroyed)
	require.Equal(t, []string{"far n3 running"}, ids(n2), "its host is there, and ends it")
	require.NoError(t, n2.Hide("n3"))
	require.Empty(t, ids(n2))
	_, found := n2.View().Sandbox("far")
	require.False(t, found)
	put(t, n2, "far")
	require.Equal(t, []string{"far n2 running"}, ids(n2), "its id is free")

	require.NoError(t, n2.Hide("n1"))
	require.Equal(t, []Destroyed{decree}, n2.View().Destroyed("u1"), "whoever told it, and whatever became of him")
	require.Equal(t, []Destroyed{decree}, n2.View().AllDestroyed())
	require.Empty(t, n2.View().Destroyed("u"))

	snapshot, err := n1.Rows("n1")
	require.NoError(t, err)
	late := open(t, "n4")
	done, err = late.Install("n1", snapshot)
	require.NoError(t, err)
	require.Equal(t, []Destroyed{decree}, done.Destroyed)

	before := n1.Log().Last()
	_, err = n1.Update(func(tx *Tx) error { return tx.DeleteDestroyed("u1") })
	require.NoError(t, err)
	done, err = n2.Apply("n1", Batch{From: before, Changes: since(n1, before)})
	require.NoError(t, err)
	require.Equal(t, []string{"u1"}, done.Decrees)
	require.Empty(t, done.Destroyed, "it is over")
	require.Empty(t, n2.View().AllDestroyed())
}

// TestProcessOf: a slot's process is the newest that has not ended.
func TestProcessOf(t *testing.T) {
	db := open(t, "n1")
	_, found := db.View().ProcessOf("n1", "shop", "a")
	require.False(t, found)
	_, err := db.Update(func(tx *Tx) error {
		for _, p := range []Process{
			{PID: "n1.1.1", Node: "n1", Sandbox: "shop", Child: "a", State: ProcessRunning},
			{PID: "n1.1.2", Node: "n1", Sandbox: "shop", Child: "b", State: ProcessExited},
			{PID: "n1.1.3", Node: "n1", Sandbox: "shop", Child: "a", State: ProcessRunning, Restarts: 1},
			{PID: "n1.1.4", Node: "n1", Sandbox: "other", Child: "a", State: ProcessRunning, Restarts: 9},
		} {
			if err := tx.PutProcess(p); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	p, found := db.View().ProcessOf("n1", "shop", "a")
	require.True(t, found)
	require.Equal(t, "n1.1.3", p.PID)
	for _, child := range []string{"b", "c"} {
		_, found = db.View().ProcessOf("n1", "shop", child)
		require.False(t, found)
	}
}
