package demo_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox/demo"
)

func TestALineASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		var count, times bytes.Buffer
		go func() { _ = demo.Printer(ctx, &times) }()
		require.NoError(t, demo.Counter(ctx, &count))
		synctest.Wait()
		require.Equal(t, "count 1\ncount 2\ncount 3\n", count.String())
		require.Equal(t, 3, strings.Count(times.String(), "it is 2000-01-01T00:00:0"))
	})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestEndsWithItsOutput(t *testing.T) {
	require.Error(t, demo.Counter(t.Context(), broken{}))
}
