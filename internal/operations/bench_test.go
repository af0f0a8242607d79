package operations_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/rpc/rpctest"
)

// BenchmarkInvoke measures a whole operation on another node: decoded, routed,
// forwarded, decoded again, run, and its answer back, beside a bare
// length-prefixed echo in the same run. The ratio is what counts.
func BenchmarkInvoke(b *testing.B) {
	nodes := nodetest.Start(b, 2)
	table := nodes[0].Table()
	for _, size := range []int{0, 1024} {
		params := json.RawMessage(`{"node":"n2"}`)
		if size > 0 {
			params = json.RawMessage(`{"node":"n2","payload":"` + string(bytes.Repeat([]byte("x"), size)) + `"}`)
		}
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("bytes=%d/callers=%d", size, callers), func(b *testing.B) {
				bare := rpctest.BareEcho(b, callers, params, 20_000)
				b.ReportAllocs()
				b.ResetTimer()
				started := time.Now()
				rpctest.Spread(b, callers, b.N, func() error {
					_, err := table.Invoke(context.Background(), op.Request{Method: "node.ping", Params: params})
					return err
				})
				rate := float64(b.N) / time.Since(started).Seconds()
				b.ReportMetric(rate, "calls/s")
				b.ReportMetric(rate/bare, "of-bare-echo")
			})
		}
	}
}
