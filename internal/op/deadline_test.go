package op

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type someKey struct{}

// TestDeadlineContext: it is as context.WithTimeout, whether somebody waits or not.
func TestDeadlineContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancelParent := context.WithCancel(context.WithValue(context.Background(), someKey{}, "v"))
		defer cancelParent()
		for _, waits := range []bool{false, true} {
			begin := func(d time.Duration) (context.Context, context.CancelFunc) {
				ctx, cancel := withTimeout(parent, d)
				if waits {
					require.NotNil(t, ctx.Done())
				}
				require.Equal(t, "v", ctx.Value(someKey{}))
				require.NoError(t, ctx.Err())
				return ctx, cancel
			}
			ctx, cancel := begin(time.Second)
			at, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, time.Second, time.Until(at))
			child, cancelChild := context.WithCancel(ctx)
			time.Sleep(time.Second)
			<-child.Done()
			require.Equal(t, context.DeadlineExceeded, ctx.Err())
			require.Equal(t, context.DeadlineExceeded, child.Err())
			<-ctx.Done()
			cancelChild()
			cancel()

			ctx, cancel = begin(time.Second)
			cancel()
			require.Equal(t, context.Canceled, ctx.Err())
			<-ctx.Done()
			require.Equal(t, context.Canceled, ctx.Err())

			sooner, cancelSooner := context.WithTimeout(parent, time.Millisecond)
			ctx, cancel = withTimeout(sooner, time.Second)
			at, _ = ctx.Deadline()
			require.Equal(t, time.Millisecond, time.Until(at))
			cancel()
			cancelSooner()

			ctx, cancel = begin(time.Second)
			time.Sleep(2 * time.Second)
			require.Equal(t, context.DeadlineExceeded, ctx.Err())
			cancel()
		}
		ctx, cancel := withTimeout(parent, time.Second)
		defer cancel()
		cancelParent()
		require.Equal(t, context.Canceled, ctx.Err())
	})
}
