package journal

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestReadTellsWhatWasMissed compares the journal with a plain slice of
// everything that was ever appended.
func TestReadTellsWhatWasMissed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{Entries: rapid.IntRange(0, 5).Draw(t, "entries"), Bytes: rapid.IntRange(0, 9).Draw(t, "bytes")}
		j := New(limits, func(n int) int { return n })
		var all []int
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 4), 0, 30).Draw(t, "values") {
			all = append(all, n)
			require.EqualValues(t, len(all), j.Append(n))
		}
		require.EqualValues(t, len(all), j.Last())
		after := rapid.Uint64Range(0, uint64(len(all))+2).Draw(t, "after")
		limit := rapid.IntRange(0, 4).Draw(t, "limit")
		items, missed := j.TryRead(after, limit)
		if limit > 0 {
			require.LessOrEqual(t, len(items), limit)
		}
		next := min(after, uint64(len(all))) + missed
		for _, item := range items {
			next++
			require.Equal(t, next, item.Seq, "positions are without gaps behind what was missed")
			require.Equal(t, all[next-1], item.Value)
		}
		if limit == 0 {
			require.EqualValues(t, len(all), next, "everything to the end")
			sum := 0
			for _, item := range items {
				sum += item.Value
			}
			require.True(t, len(items) <= 1 || limits.Entries == 0 || len(items) <= limits.Entries)
			require.True(t, len(items) <= 1 || limits.Bytes == 0 || sum <= limits.Bytes)
		}
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New[string](Limits{Entries: 2}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		woken := make(chan error, 3)
		for range 2 {
			go func() { woken <- j.Wait(ctx, 0) }()
		}
		go func() { woken <- j.Wait(ctx, 1) }()
		synctest.Wait()
		require.Empty(t, woken)
		j.Append("a")
		require.NoError(t, <-woken)
		require.NoError(t, <-woken)
		synctest.Wait()
		require.Empty(t, woken)
		cancel()
		require.ErrorIs(t, <-woken, context.Canceled, "the second entry never came")
	})
}
