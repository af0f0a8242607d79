package sandbox_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/sandbox"
)

func TestLogFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := sandbox.NewLog(0, 2)
		go func() {
			time.Sleep(time.Second)
			l.Append(time.Now(), sandbox.Stdout, "p", "one", "two", "three")
			time.Sleep(time.Second)
			l.Skip(4, 40)
			time.Sleep(time.Second)
			l.Close()
		}()
		entries, next, missed, err := l.Read(t.Context(), 0, 1, true)
		require.NoError(t, err)
		require.Equal(t, "two", entries[0].Line)
		require.Equal(t, []uint64{2, 1}, []uint64{next, missed})
		_, next, _, _ = l.Read(t.Context(), next, 0, true)
		require.Equal(t, uint64(3), next)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, _, _, err = l.Read(ctx, next, 0, true)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, next, missed, err = l.Read(t.Context(), next, 0, true)
		require.NoError(t, err)
		require.Equal(t, []uint64{7, 4}, []uint64{next, missed})
		_, _, _, err = l.Read(t.Context(), next, 0, true)
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestLogBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := sandbox.NewLog(100, 10)
		var total uint64
		for range rapid.IntRange(1, 30).Draw(t, "appends") {
			n := rapid.IntRange(0, 15).Draw(t, "lines")
			lines := make([]string, n)
			for i := range lines {
				lines[i] = strings.Repeat("x", rapid.IntRange(0, 40).Draw(t, "length"))
			}
			l.Append(time.Now(), sandbox.Stderr, "p", lines...)
			total += uint64(n)
			entries, next, missed, err := l.Read(context.Background(), 0, 0, false)
			require.NoError(t, err)
			bytes := 0
			for i, e := range entries {
				require.Equal(t, missed+uint64(i)+1, e.Seq)
				bytes += len(e.Line)
			}
			require.LessOrEqual(t, bytes, 100)
			require.LessOrEqual(t, len(entries), l.Room())
			require.Equal(t, total, next)
		}
	})
}
