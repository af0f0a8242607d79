package rpc

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers
}

// TestABurstLeavesNoWorkers: they are started when needed, and but a few end
// when nobody has needed them for a while.
func TestABurstLeavesNoWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, nobody, sleeper, Config{Workers: 1024})
		burst := func(n int, seconds float64) {
			var calls sync.WaitGroup
			for range n {
				calls.Go(func() {
					if err := near.Call(t.Context(), "x", []float64{seconds}, nil); err != nil {
						t.Error(err)
					}
				})
			}
			calls.Wait()
		}
		require.Zero(t, far.pool.size())
		burst(1000, 1)
		require.Equal(t, 1000, far.pool.size())
		for range 100 { // ten at a time keep about ten, although there are others
			burst(10, 1)
		}
		require.Less(t, far.pool.size(), 30)
		time.Sleep(3 * idleTime)
		require.Equal(t, keepWorkers, far.pool.size())
		require.Nil(t, far.pool.count, "and nothing ticks")
		burst(100, 0)
		synctest.Wait() // an answer is sent before its worker is done
		require.Zero(t, far.Stats().Running)
	})
}

// TestTheBacklogIsDoneInOrder, and not begun when the connection closes.
func TestTheBacklogIsDoneInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		one, two := Pipe()
		conn := Start(t.Context(), one, HandlerFunc(func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
			got = append(got, method) // there is one worker
			time.Sleep(time.Second)
			return nil, nil
		}), Config{Workers: 1})
		for _, method := range []string{"a", "b", "c", "d"} {
			_, err := two.Write([]byte(`{"jsonrpc":"2.0","method":"` + method + `"}` + "\n"))
			require.NoError(t, err)
		}
		time.Sleep(2500 * time.Millisecond)
		conn.Close(nil)
		require.Error(t, conn.Wait())
		require.Equal(t, []string{"a", "b", "c"}, got)
		require.NoError(t, two.Close())
	})
}

// inliner is a handler that says itself what is inline.
type inliner struct{ HandlerFunc }

func (inliner) Inline(method string) bool { return method == "login" }

// TestAHandlerMayNameInlineMethods: they take effect before what comes behind
// them.
func TestAHandlerMayNameInlineMethods(t *testing.T) {
	loggedIn := false
	near, _ := pair(t, nobody, inliner{func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		if method == "login" {
			loggedIn = true
		}
		return loggedIn, nil
	}}, Config{Inline: func(method string) bool { return method == "other" }})
	require.NoError(t, near.Notify(t.Context(), "login", nil))
	for _, method := range []string{"x", "other"} {
		var in bool
		require.NoError(t, near.Call(t.Context(), method, nil, &in))
		require.True(t, in)
	}
}
