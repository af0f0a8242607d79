package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// sleeper answers when the time it is told has passed, or its context ends.
var sleeper = HandlerFunc(func(ctx context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
	seconds := []float64{0}
	if err := json.Unmarshal(params, &seconds); err != nil {
		return nil, err
	}
	select {
	case <-time.After(time.Duration(seconds[0] * float64(time.Second))):
		return method, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
})

// halfClosed sends requests that take so many seconds each, and then nothing
// more.
func halfClosed(t *testing.T, cfg Config, seconds ...float64) (conn *Conn, peer net.Conn) {
	t.Helper()
	one, two := Pipe()
	conn = Start(t.Context(), one, sleeper, cfg)
	for i, s := range seconds {
		_, err := fmt.Fprintf(two, `{"jsonrpc":"2.0","id":%d,"method":"sleep","params":[%v]}`+"\n", i, s)
		require.NoError(t, err)
	}
	require.NoError(t, two.(*memoryConn).CloseWrite())
	return conn, two
}

// TestLinger: who has sent all and closed its sending side, like printf … | nc
// -N, gets its answers, and then the end.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		conn, peer := halfClosed(t, Config{Linger: 30 * time.Second}, 3, 1, 2)
		answers, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"sleep"}`+"\n"+`{"jsonrpc":"2.0","id":2,"result":"sleep"}`+"\n"+`{"jsonrpc":"2.0","id":0,"result":"sleep"}`+"\n", string(answers))
		require.Equal(t, 3*time.Second, time.Since(begun))
		require.ErrorContains(t, conn.Wait(), "the peer closed the connection")
		require.NoError(t, peer.Close())
	})
}

// TestLingerSendsAll: also what takes longer to read than a closing connection
// otherwise waits.
func TestLingerSendsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := Pipe()
		conn := Start(t.Context(), one, HandlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) {
			return kib(1 << 10), nil
		}), Config{Linger: 30 * time.Second})
		_, err := two.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"get"}` + "\n"))
		require.NoError(t, err)
		require.NoError(t, two.(*memoryConn).CloseWrite())
		time.Sleep(2 * time.Second)
		answer, err := io.ReadAll(two)
		require.NoError(t, err)
		require.Greater(t, len(answer), 1<<20)
		require.Error(t, conn.Wait())
		require.NoError(t, two.Close())
	})
}

// TestLingerEnds: when the time is up, when the connection breaks or is closed,
// and at once where nothing is open or it is not wanted.
func TestLingerEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg     Config
		seconds []float64
		do      func(conn *Conn, peer net.Conn)
		want    time.Duration
	}{
		"time is up":   {Config{Linger: 5 * time.Second}, []float64{60, 1}, nil, 5 * time.Second},
		"broken":       {Config{Linger: 30 * time.Second}, []float64{60, 1}, func(_ *Conn, peer net.Conn) { _ = peer.Close() }, time.Second},
		"closed here":  {Config{Linger: 30 * time.Second}, []float64{60}, func(c *Conn, _ net.Conn) { time.Sleep(time.Second); c.Close(nil) }, time.Second},
		"nothing open": {Config{Linger: 30 * time.Second}, nil, nil, 0},
		"not wanted":   {Config{}, []float64{60}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				conn, peer := halfClosed(t, tc.cfg, tc.seconds...)
				synctest.Wait()
				if tc.do != nil {
					tc.do(conn, peer)
				}
				require.ErrorContains(t, conn.Wait(), "the peer closed the connection")
				require.Equal(t, tc.want, time.Since(begun))
				require.NoError(t, peer.Close())
			})
		})
	}
}

// TestEndAtEOF: the death of a peer that was found to be a node is known at
// once, whatever it has asked; and own calls fail at once in any case.
func TestEndAtEOF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, node := range []bool{true, false} {
			one, two := Pipe()
			conn := Start(t.Context(), one, HandlerFunc(func(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error) {
				if method == "hello" {
					c.EndAtEOF()
				}
				return sleeper(ctx, c, "", params)
			}), Config{Linger: 30 * time.Second, Inline: func(method string) bool { return method == "hello" }})
			failed := make(chan error)
			go func() { failed <- conn.Call(t.Context(), "x", nil, nil) }()
			synctest.Wait()
			first := map[bool]string{true: "hello", false: "other"}[node]
			_, err := two.Write([]byte(`{"jsonrpc":"2.0","method":"` + first + `","params":[0]}` + "\n" + `{"jsonrpc":"2.0","id":1,"method":"sleep","params":[9]}` + "\n"))
			require.NoError(t, err)
			begun := time.Now()
			require.NoError(t, two.(*memoryConn).CloseWrite())
			require.Equal(t, errs.ConnectionLost, errs.KindOf(<-failed))
			require.Zero(t, time.Since(begun))
			require.Equal(t, errs.NodeUnavailable, errs.KindOf(conn.Call(t.Context(), "x", nil, nil)))
			require.Error(t, conn.Wait())
			require.Equal(t, map[bool]time.Duration{true: 0, false: 9 * time.Second}[node], time.Since(begun))
			require.NoError(t, two.Close())
		}
	})
}

// TestRefuse tells the peer why the connection ends.
func TestRefuse(t *testing.T) {
	one, two := Pipe()
	conn := Start(t.Context(), one, nobody, Config{})
	conn.Refuse(errs.New(errs.Timeout, "nothing was said within 1s"))
	require.ErrorContains(t, conn.Wait(), "nothing was said")
	line, err := bufio.NewReader(two).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, `"id":null,"error":{"code":-32040`)
	require.Contains(t, line, "nothing was said within 1s")
	require.NoError(t, two.Close())
}

// TestMessagesAreCounted, whatever they are: an owner sees whether the peer
// says anything.
func TestMessagesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := Pipe()
		conn := Start(t.Context(), one, nobody, Config{})
		require.Zero(t, conn.Stats().Messages)
		_, err := two.Write([]byte("garbage\n\n[1,2]\n{}\nunfin"))
		require.NoError(t, err)
		synctest.Wait()
		require.EqualValues(t, 3, conn.Stats().Messages)
		require.Zero(t, conn.Stats().Received)
		require.NoError(t, two.Close())
		require.Error(t, conn.Wait())
	})
}

// TestWaitWaitsForInlineHandlers, which run on the reading goroutine; what was
// read ahead behind them is not begun any more.
func TestWaitWaitsForInlineHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, calls := false, 0
		one, two := Pipe()
		conn := Start(t.Context(), one, HandlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) {
			calls++
			time.Sleep(time.Second)
			ended = true
			return nil, nil
		}), Config{Inline: func(string) bool { return true }})
		_, err := two.Write([]byte(`{"jsonrpc":"2.0","method":"x"}` + "\n" + `{"jsonrpc":"2.0","method":"x"}` + "\n"))
		require.NoError(t, err)
		synctest.Wait()
		conn.Close(nil)
		require.Error(t, conn.Wait())
		require.True(t, ended)
		require.Equal(t, 1, calls)
		require.NoError(t, two.Close())
	})
}
