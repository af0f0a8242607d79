package replica_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/cluster/replica"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/memdb/memdbtest"
)

// BenchmarkLookup measures lookups of names that another node holds, from as many
// goroutines as there are processors, beside a bare go-memdb with the same rows
// in the same run: among a thousand of the names, which the processor keeps close,
// and among all.
func BenchmarkLookup(b *testing.B) {
	const n = 100_000
	name := func(i int) string { return fmt.Sprintf("many/%06d", i) }
	value := json.RawMessage(`{"port":6379}`)
	bare, err := memdbtest.Fill(n, "n2", name, value)
	require.NoError(b, err)
	db := filled(b, n, name, value)
	r := replica.New(replica.Config{Self: "n1", DB: db}, nil)
	all := make([]string, n)
	for i := range all {
		all[i] = name(i)
	}
	measure := func(count, among int, lookup func(name string) bool) float64 {
		var wg sync.WaitGroup
		started := time.Now()
		workers := runtime.GOMAXPROCS(0)
		for w := range workers {
			wg.Go(func() {
				for i := w; i < count; i += workers {
					if name := all[i*7919%among]; !lookup(name) { // in no order
						b.Errorf("%s was not found", name)
						return
					}
				}
			})
		}
		wg.Wait()
		return float64(count) / time.Since(started).Seconds()
	}
	for _, among := range []int{1000, n} {
		bareRate := measure(1_000_000, among, func(name string) bool { _, ok := bare.Holder(name); return ok })
		b.Run(fmt.Sprintf("among=%d", among), func(b *testing.B) {
			b.ReportAllocs()
			rate := measure(b.N, among, func(name string) bool {
				claim, err := r.Lookup(context.Background(), name, false)
				return err == nil && claim.Node == "n2"
			})
			b.ReportMetric(rate, "lookups/s")
			b.ReportMetric(rate/bareRate, "of-bare-go-memdb")
		})
	}
}

// filled is the state of n1, to which n2 has said that it holds so many names.
func filled(tb testing.TB, n int, name func(int) string, value json.RawMessage) *memdb.DB {
	tb.Helper()
	db, err := memdb.Open("n1")
	require.NoError(tb, err)
	require.NoError(tb, db.SetIncarnation(1))
	origin, err := memdb.Open("n2")
	require.NoError(tb, err)
	require.NoError(tb, origin.SetIncarnation(1))
	claims := make([]memdb.Claim, n)
	for i := range claims {
		claims[i] = memdb.Claim{Name: name(i), Node: "n2", Value: value, Stamp: uint64(i + 1)}
	}
	_, failed := origin.Claims(claims, func(memdb.View, memdb.Claim) error { return nil })
	for _, err := range failed {
		require.NoError(tb, err)
	}
	require.NoError(tb, origin.Confirm(uint64(n)))
	rows, err := origin.Rows("n2")
	require.NoError(tb, err)
	_, err = db.Install("n2", rows)
	require.NoError(tb, err)
	require.NoError(tb, db.Show("n2", rows.Position))
	return db
}
