package memdb

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkClaims stores claims, 100 in a transaction, among 10,000 names. What
// go-memdb's own watches would cost is seen with `db = db.Snapshot()` left out of
// Open (ADR 5).
func BenchmarkClaims(b *testing.B) {
	db, err := Open("n1")
	require.NoError(b, err)
	store := func(i int) {
		_, err := db.Update(func(tx *Tx) error {
			for j := range 100 {
				if err := tx.PutClaim(Claim{Name: fmt.Sprintf("bench/%06d", (i*7919+j*131)%10_000), Node: "n1"}); err != nil {
					return err
				}
			}
			return nil
		})
		require.NoError(b, err)
	}
	for i := range 200 {
		store(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		store(i)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/claim")
}
