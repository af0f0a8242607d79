package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/rpc/rpctest"
)

// BenchmarkCall measures calls between two ends over loopback TCP, beside a
// bare length-prefixed echo in the same run: the ratio is what counts.
func BenchmarkCall(b *testing.B) {
	for _, size := range []int{0, 1024} {
		payload := json.RawMessage(`{}`)
		if size > 0 {
			payload = json.RawMessage(`{"payload":"` + string(bytes.Repeat([]byte("x"), size)) + `"}`)
		}
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("bytes=%d/callers=%d", size, callers), func(b *testing.B) {
				bare := rpctest.BareEcho(b, callers, payload, 20_000)
				client := echoServer(b)
				b.ReportAllocs()
				b.ResetTimer()
				started := time.Now()
				rpctest.Spread(b, callers, b.N, func() error {
					var result json.RawMessage
					return client.Call(context.Background(), "echo", payload, &result)
				})
				rate := float64(b.N) / time.Since(started).Seconds()
				b.ReportMetric(rate, "calls/s")
				b.ReportMetric(rate/bare, "of-bare-echo")
			})
		}
	}
}

// echoServer returns a connection to a peer that answers every call with its
// parameters.
func echoServer(tb testing.TB) *Conn {
	tb.Helper()
	l, err := TCP{}.Listen("127.0.0.1:0")
	require.NoError(tb, err)
	accepted := make(chan *Conn)
	echo := HandlerFunc(func(_ context.Context, _ *Conn, _ string, params json.RawMessage) (any, error) { return params, nil })
	go func() {
		nc, err := l.Accept()
		if err != nil {
			panic(err)
		}
		accepted <- Start(context.Background(), nc, echo, Config{})
	}()
	nc, err := TCP{}.Dial(context.Background(), l.Addr().String())
	require.NoError(tb, err)
	client, server := Start(context.Background(), nc, echo, Config{}), <-accepted
	tb.Cleanup(func() {
		client.Close(nil)
		require.Error(tb, client.Wait())
		require.Error(tb, server.Wait())
		require.NoError(tb, l.Close())
	})
	return client
}
