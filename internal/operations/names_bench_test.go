package operations_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/rpc/rpctest"
)

// BenchmarkRegister measures registers that three nodes of this process
// acknowledge: over HTTP in batches of a hundred, sixteen callers, and one after
// the other without HTTP. Its profile is that of all three; TestPromisesOfNames
// of package harness measures processes.
func BenchmarkRegister(b *testing.B) {
	b.Run("batches", func(b *testing.B) { registerBatches(b, nodetest.Start(b, 3)) })
	b.Run("one", func(b *testing.B) {
		table := nodetest.Start(b, 3)[0].Table()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			params := fmt.Appendf(nil, `{"name":"bench/%06d","value":{"port":6379}}`, i)
			_, err := table.Invoke(context.Background(), op.Request{Method: "registry.register", Params: params})
			require.NoError(b, err)
		}
	})
}

// registerBatches registers b.N names in batches of a hundred over HTTP, by sixteen
// callers.
func registerBatches(b *testing.B, nodes []*nodetest.Node) {
	const batch = 100
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	bodies := make(chan []byte, b.N/batch+1)
	for from := 0; from < b.N; from += batch {
		body := []byte("[")
		for i := from; i < min(from+batch, b.N); i++ {
			if i > from {
				body = append(body, ',')
			}
			body = fmt.Appendf(body, `{"jsonrpc":"2.0","id":%d,"method":"registry.register","params":{"name":"bench/%06d","value":{"port":6379}}}`, i, i)
		}
		bodies <- append(body, ']')
	}
	b.ResetTimer()
	started := time.Now()
	rpctest.Spread(b, 16, len(bodies), func() error {
		answer, err := client.Post("http://"+nodes[0].HTTP()+"/rpc", "application/json", bytes.NewReader(<-bodies))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		raw, err := io.ReadAll(answer.Body)
		if bytes.Contains(raw, []byte(`"error"`)) {
			return fmt.Errorf("not registered: %.300s", raw)
		}
		return err
	})
	b.ReportMetric(float64(b.N)/time.Since(started).Seconds(), "registers/s")
}

// BenchmarkRegisterBesideWaiters does so while a thousand lookups of the same node
// wait for names that nobody registers: each looks again at every commit (ADR 5).
func BenchmarkRegisterBesideWaiters(b *testing.B) {
	for _, consistent := range []bool{false, true} {
		b.Run(fmt.Sprintf("consistent=%t", consistent), func(b *testing.B) {
			nodes := nodetest.Start(b, 3)
			ctx, cancel := context.WithCancel(b.Context())
			var waiters sync.WaitGroup
			for i := range 1000 {
				params := fmt.Appendf(nil, `{"name":"never/%d","wait_ms":20000,"timeout_ms":30000,"consistent":%t}`, i, consistent)
				waiters.Go(func() {
					for ctx.Err() == nil { // the wait may end before the benchmark does
						_, _ = nodes[0].Table().Invoke(ctx, op.Request{Method: "registry.lookup", Params: params})
					}
				})
			}
			registerBatches(b, nodes)
			cancel()
			waiters.Wait()
		})
	}
}

// BenchmarkLookup measures lookups of another node's name over HTTP, sixteen
// callers in the same process.
func BenchmarkLookup(b *testing.B) {
	const names = 1000
	nodes := nodetest.Start(b, 2)
	for i := range names {
		params := fmt.Appendf(nil, `{"name":"bench/%06d","value":{"port":6379}}`, i)
		_, err := nodes[1].Table().Invoke(context.Background(), op.Request{Method: "registry.register", Params: params})
		require.NoError(b, err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	rpctest.Spread(b, 16, b.N, func() error {
		answer, err := client.Get(fmt.Sprintf("http://%s/api/v1/registry/bench/%06d", nodes[0].HTTP(), next.Add(1)%names))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	})
}
