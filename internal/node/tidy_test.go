package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRoomPercent(t *testing.T) {
	require.Equal(t, 800, roomPercent(0))
	require.Equal(t, 800, roomPercent(2<<20))
	require.Equal(t, 200, roomPercent(8<<20))
	require.Equal(t, 100, roomPercent(16<<20))
	require.Equal(t, 100, roomPercent(1<<30))
}

// TestTidy runs through a burst of work and the quiet behind it.
func TestTidy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- tidy(ctx) }()
		synctest.Wait()
		var garbage [][]byte
		for range 8 {
			garbage = append(garbage, make([]byte, burstBytes))
			time.Sleep(tidyEvery)
		}
		require.Len(t, garbage, 8)
		time.Sleep(3 * tidyEvery)
		cancel()
		require.NoError(t, <-ended)
	})
}
