package operations_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
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
	b.Run("batches", func(b *testing.B) {
		const batch = 100
		nodes := nodetest.Start(b, 3)
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
	})
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
