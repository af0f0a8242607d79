package cluster

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/rpc"
)

// waitingNode answers "wait" only when nobody wants to know any more.
type waitingNode struct{ echoNode }

func (w waitingNode) Handle(ctx context.Context, from, method string, params json.RawMessage) (any, error) {
	if method == "wait" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return w.echoNode.Handle(ctx, from, method, params)
}

// TestWaitsStarveNobody: however many requests of a peer wait, directly or passed on
// by a third, the others are answered at once, and those that are too many refused.
func TestWaitsStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		waits := func(_ *Config, o *Options) {
			o.Node = waitingNode{o.Node.(echoNode)}
			o.Waits = func(method string, _ json.RawMessage) bool { return method == "wait" }
		}
		n1, n2, n3 := startShell(t, m, "n1", waits), startShell(t, m, "n2", waits), startShell(t, m, "n3", waits)
		settle(time.Second)
		const wait = 20 * time.Second
		flood := func() (refused int) {
			kinds := make(chan errs.Kind, 2*nodeWorkers)
			for range cap(kinds) {
				go func() {
					ctx, cancel := context.WithTimeout(t.Context(), wait)
					defer cancel()
					kinds <- errs.KindOf(n1.Call(ctx, "n2", "wait", nil, nil))
				}()
			}
			settle(time.Second)
			for len(kinds) > 0 {
				require.Equal(t, errs.RateLimited, <-kinds)
				refused++
			}
			for _, to := range []string{"n2", "n3"} {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				require.NoError(t, n1.Call(ctx, to, "hello", nil, nil), to)
				cancel()
				require.Less(t, time.Since(began), time.Second, to)
			}
			settle(wait)
			require.Len(t, kinds, maxWaits)
			return refused
		}
		require.Equal(t, 2*nodeWorkers-maxWaits, flood())
		require.Empty(t, n2.waits)

		m.Set("n1:1", "n2:1", rpc.Cut)
		settle(20 * time.Second)
		require.Equal(t, via("n3"), n1.member("n2").Reach)
		require.Equal(t, 2*nodeWorkers-maxWaits, flood())
		require.Empty(t, n2.waits)
		require.Empty(t, n3.waits)
		for _, n := range []*shell{n1, n2, n3} {
			n.stop(t)
		}
	})
}
