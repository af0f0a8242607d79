package memdb

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestReplicasConverge: whatever three origins write, and in whatever portions,
// order and way it reaches the others, delivered again or as snapshots of any
// of them, in the end all show the same.
func TestReplicasConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"n1", "n2", "n3"}
		dbs := map[string]*DB{}
		incarnation := map[string]uint64{}
		for _, name := range names {
			dbs[name] = open(t, name)
		}
		deliver := func(from, to string, begin uint64, most int) {
			changes := since(dbs[from], begin)
			changes = changes[:min(most, len(changes))]
			at, err := dbs[to].Apply(from, Batch{Incarnation: incarnation[from], From: begin, Changes: changes})
			require.NoError(t, err)
			require.True(t, dbs[to].Digest()[from].Covers(at.Position))
		}
		name := rapid.SampledFrom(names)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			from, to := name.Draw(t, "from"), name.Draw(t, "to")
			db := dbs[from]
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1: // ids are the origins' own: who may have which is decided elsewhere
				id := fmt.Sprintf("%s-%d", from, rapid.IntRange(0, 4).Draw(t, "id"))
				put(t, db, id)
			case 2:
				_, err := db.Update(func(tx *Tx) error {
					return tx.DeleteSandbox(fmt.Sprintf("%s-%d", from, rapid.IntRange(0, 4).Draw(t, "id")))
				})
				require.NoError(t, err)
			case 3:
				if from != to {
					known := dbs[to].Digest()[from].Seq
					deliver(from, to, uint64(rapid.IntRange(0, int(known)+2).Draw(t, "begin")), rapid.IntRange(0, 5).Draw(t, "most"))
				}
			default:
				if of := name.Draw(t, "of"); of != to {
					snapshot, err := db.Rows(of)
					require.NoError(t, err)
					before := dbs[to].Digest()[of]
					at, err := dbs[to].Install(of, snapshot)
					require.NoError(t, err)
					require.True(t, at.Covers(before) && at.Covers(snapshot.Position), "never back")
				}
			}
		}
		for _, from := range names {
			for _, to := range names {
				if from != to {
					deliver(from, to, dbs[to].Digest()[from].Seq, 1<<20)
				}
			}
		}
		for _, n := range names {
			require.Equal(t, ids(dbs["n1"]), ids(dbs[n]))
			require.Equal(t, dbs["n1"].Digest().Hash(), dbs[n].Digest().Hash())
		}
	})
}
