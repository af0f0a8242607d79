package replica_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/cluster/replica"
	"github.com/glassbox-dev/glassbox/memdb"
)

// TestTogetherIsOneAfterTheOther: requests that come together end as they would
// one after the other, with the same state and the same events.
func TestTogetherIsOneAfterTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type world struct {
			core   *replica.Core
			db     *memdb.DB
			events map[string][]string // of each name, in their order
		}
		open := func() *world {
			db, err := memdb.Open("n1")
			require.NoError(t, err)
			w := &world{db: db, events: map[string][]string{}}
			w.core = replica.NewCore(replica.Config{Self: "n1", DB: db, OnName: func(e registry.Event) {
				w.events[e.Claim.Name] = append(w.events[e.Claim.Name], string(e.Type)+e.Claim.PID)
			}})
			w.core.SetIncarnation(1)
			return w
		}
		together, alone := open(), open()
		now := time.UnixMicro(1764000000000000)
		var id uint64
		looked := map[uint64]bool{}
		for range rapid.IntRange(1, 5).Draw(t, "groups") {
			var requests []func(c *replica.Core)
			for range rapid.IntRange(1, 6).Draw(t, "requests") {
				id++
				own := id
				name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
				switch rapid.IntRange(0, 4).Draw(t, "what") {
				case 0:
					requests = append(requests, func(c *replica.Core) {
						c.Unregister(now, registry.Unregister{ID: own, Name: name, Deadline: now.Add(time.Second)})
					})
				case 1: // may find what is registered with it, or not
					looked[own] = true
					requests = append(requests, func(c *replica.Core) {
						c.Lookup(now, registry.Lookup{ID: own, Name: name, Consistent: true, Deadline: now.Add(time.Second)})
					})
				default:
					r := registry.Register{ID: own, Name: name, Deadline: now.Add(time.Second), Value: json.RawMessage("1"),
						PID: rapid.SampledFrom([]string{"", "", "n1.x.1"}).Draw(t, "pid")}
					requests = append(requests, func(c *replica.Core) { c.Register(now, r) })
				}
			}
			together.core.Together(now, func() {
				for _, f := range requests {
					f(together.core)
				}
			})
			_, done := together.core.Take()
			var want []registry.Done
			for _, f := range requests {
				f(alone.core)
				_, one := alone.core.Take()
				want = append(want, one...)
			}
			ends := func(list []registry.Done) map[uint64]string {
				texts := map[uint64]string{}
				for _, d := range list {
					if looked[d.ID] {
						texts[d.ID] = "answered"
						continue
					}
					texts[d.ID] = fmt.Sprintf("%v %v", d.Err, d.Created)
				}
				return texts
			}
			require.Equal(t, ends(want), ends(done))
			for _, name := range []string{"a", "b", "c"} {
				wanted, had := alone.db.View().Holder(name)
				got, has := together.db.View().Holder(name)
				require.Equal(t, had, has)
				require.Equal(t, wanted.PID, got.PID)
				require.Equal(t, wanted.Confirmed, got.Confirmed)
			}
			require.Empty(t, together.core.Busy())
		}
		require.Equal(t, alone.events, together.events)
	})
}
