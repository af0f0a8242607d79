// Package rpctest holds what calls are measured against.
package rpctest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BareEcho measures the least that a call can cost: a length, an id, the
// payload, and back, on one connection, with one reader and one writer a side.
func BareEcho(tb testing.TB, callers int, payload []byte, n int) (rate float64) {
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
	Spread(tb, callers, n, func() error {
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

// Spread runs n calls on so many goroutines.
func Spread(tb testing.TB, callers, n int, call func() error) {
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
