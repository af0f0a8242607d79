package replication

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/memdb"
)

// large is so much that two rows of it fill the log of another origin's changes,
// and who is behind gets a snapshot.
var large = json.RawMessage(`"` + strings.Repeat("x", 200<<10) + `"`)

// flood is so many changes that the log of the node's own does not keep them.
const flood = 8200

// TestTheyConverge: whatever three to four nodes write, confirm and publish, and
// whichever messages are late, lost, answered in vain or come again by another
// link, whoever is cut off, called another way or reborn: once all are linked
// they have the same. That events come once and in order is looked at all the
// time, by [node.onFeed].
func TestTheyConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.IntRange(3, 4).Draw(t, "nodes"))
		lossy := rapid.IntRange(0, 3).Draw(t, "lossy")
		floods := rapid.IntRange(0, 4).Draw(t, "floods") - 3 // in one world of five
		w.fate = func(*way, Call) fate {
			ms := func(name string, most int) time.Duration {
				return time.Duration(rapid.IntRange(1, most).Draw(t, name)) * time.Millisecond
			}
			f := fate{delay: ms("there", 20), back: ms("back", 20)}
			if lossy > 0 {
				switch n := rapid.IntRange(0, 9).Draw(t, "fate"); {
				case n < lossy:
					f.lost = true
				case n < 2*lossy:
					f.unanswered = true
				case n < 3*lossy:
					f.again = ms("again", 200)
				}
			}
			return f
		}
		name := rapid.SampledFrom(w.names)
		two := func() (string, string) {
			a := rapid.IntRange(0, len(w.names)-1).Draw(t, "a")
			b := rapid.IntRange(0, len(w.names)-2).Draw(t, "b")
			if b >= a {
				b++
			}
			return w.names[a], w.names[b]
		}
		w.linkAll()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch what := rapid.IntRange(0, 19).Draw(t, "what"); what {
			case 0:
				w.unlink(two())
			case 1, 2: // also while there is one: what is under way on it comes late
				w.link(two())
			case 3: // unnoticed
				a, b := two()
				w.setCut(a, b, rapid.Bool().Draw(t, "cut"))
			case 4:
				a, b := two()
				if w.nodes[a].Linked(b) != 0 {
					w.reway(a, b)
					w.nodes[a].Reroute(w.now, b)
					w.flush(w.nodes[a])
				}
			case 5:
				n := name.Draw(t, "reborn")
				incarnation := w.nodes[n].db.Position(n).Incarnation + 1
				w.kill(n)
				w.start(n, incarnation)
			case 6:
				n := w.nodes[name.Draw(t, "risen")]
				require.NoError(t, n.db.SetIncarnation(n.db.Position(n.name).Incarnation+1))
				n.changed()
			case 7:
				a, b := two()
				w.nodes[a].Saw(w.now, b, w.nodes[b].db.Digest())
				w.flush(w.nodes[a])
			case 8:
				w.nodes[name.Draw(t, "node")].confirm()
			case 9, 10:
				w.nodes[name.Draw(t, "node")].publish(rapid.IntRange(1, 5).Draw(t, "events"))
			case 11:
				if floods > 0 {
					floods--
					w.nodes[name.Draw(t, "flooded")].churn(flood, 5)
				}
			default:
				w.nodes[name.Draw(t, "node")].scribble(t)
			}
			w.run(time.Duration(rapid.IntRange(0, 30).Draw(t, "ms")) * time.Millisecond)
		}
		w.fate = nil
		w.linkAll()
		w.run(2 * time.Second)
		w.gossip()
		w.same()
		for _, name := range w.names {
			n := w.nodes[name]
			require.Empty(t, n.calls)
			require.Empty(t, n.given)
			n.publish(1)
		}
		w.run(time.Second)
		for _, a := range w.names {
			for _, b := range w.names {
				if a != b {
					require.Equal(t, w.nodes[b].events.Out().Last(), w.nodes[a].heardTo[b].seq, "%s has heard all of %s", a, b)
				}
			}
		}
	})
}

// scribble changes some of a node's rows.
func (n *node) scribble(t *rapid.T) {
	n.update(func(tx *memdb.Tx) error {
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			id := fmt.Sprintf("%s-%d", n.name, rapid.IntRange(0, 4).Draw(t, "id"))
			claim := memdb.Claim{Name: id[3:], Node: n.name, Stamp: n.db.Log().Last() + 1}
			box := memdb.Sandbox{ID: id, Node: n.name, Epoch: n.db.Log().Last()}
			var err error
			switch size := rapid.IntRange(0, 40).Draw(t, "row"); {
			case size < 10:
				err = tx.PutClaim(claim)
			case size < 15:
				err = tx.DeleteClaim(claim.Name)
			case size < 20:
				err = tx.DeleteSandbox(id)
			case size >= 39:
				box.Spec = large
				err = tx.PutSandbox(box)
			default:
				err = tx.PutSandbox(box)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
