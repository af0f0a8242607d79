package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
				bare := bareEcho(b, callers, payload, 20_000)
				client := echoServer(b)
				b.ReportAllocs()
				b.ResetTimer()
				started := time.Now()
				spread(b, callers, b.N, func() error {
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

// spread runs n calls on so many goroutines.
func spread(tb testing.TB, callers, n int, call func() error) {
	tb.Helper()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := i; j < n; j += callers {
				if err := call(); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
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

// bareEcho measures the least that a call can cost: a length, an id, the
// payload, and back, on one connection, with one reader and one writer a side.
func bareEcho(tb testing.TB, callers int, payload []byte, n int) (rate float64) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer l.Close()
	go func() {
		nc, err := l.Accept()
		if err != nil {
			panic(err)
		}
		defer nc.Close()
		r := bufio.NewReader(nc)
		for {
			frame, err := readFrame(r)
			if err != nil {
				return
			}
			if _, err := nc.Write(frame); err != nil {
				return
			}
		}
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(tb, err)
	defer nc.Close()
	var mu sync.Mutex
	waiting := map[uint32]chan struct{}{}
	go func() {
		r := bufio.NewReader(nc)
		for {
			frame, err := readFrame(r)
			if err != nil {
				return
			}
			id := binary.BigEndian.Uint32(frame[4:])
			mu.Lock()
			done := waiting[id]
			delete(waiting, id)
			mu.Unlock()
			close(done)
		}
	}()
	var last uint32
	started := time.Now()
	spread(tb, callers, n, func() error {
		done := make(chan struct{})
		frame := make([]byte, 8+len(payload))
		binary.BigEndian.PutUint32(frame, uint32(4+len(payload)))
		copy(frame[8:], payload)
		mu.Lock()
		last++
		waiting[last] = done
		binary.BigEndian.PutUint32(frame[4:], last)
		_, err := nc.Write(frame)
		mu.Unlock()
		if err != nil {
			return err
		}
		<-done
		return nil
	})
	return float64(n) / time.Since(started).Seconds()
}

func readFrame(r io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(head))
	copy(frame, head)
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}
