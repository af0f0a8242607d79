package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// kib returns a string of so many KiB.
func kib(n int) string { return strings.Repeat("x", n<<10) }

// deaf starts a connection whose peer has stopped reading: bulk fills the
// network, and then the queue.
func deaf(t *testing.T, h Handler, cfg Config) (conn *Conn, peer net.Conn) {
	t.Helper()
	cfg.MaxMessage, cfg.QueueBytes = 128<<10, 512<<10
	one, two := Pipe()
	conn = Start(t.Context(), one, h, cfg)
	return conn, two
}

// fill sends bulk until it is refused, however short it is.
func fill(t *testing.T, conn *Conn) (err error) {
	t.Helper()
	for _, size := range []int{100, 5} {
		for err = nil; err == nil; synctest.Wait() {
			err = conn.Notify(t.Context(), "bulk", []string{kib(size)})
			require.LessOrEqual(t, conn.Stats().QueuedBytes, 512<<10)
		}
	}
	return err
}

// TestAFullQueue refuses, and says so; what waits is sent when the peer reads
// again, and the connection lives on.
func TestAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := deaf(t, nobody, Config{WriteTimeout: time.Hour})
		err := fill(t, conn)
		require.Equal(t, errs.RateLimited, errs.KindOf(err))
		require.True(t, errs.From(err).Definite())
		require.ErrorContains(t, err, "bulk was not sent")
		require.Equal(t, errs.RateLimited, errs.KindOf(conn.Call(t.Context(), "bulk", []string{kib(100)}, nil)))
		require.Zero(t, conn.Stats().Pending)

		// Bulk does not starve what is small, which has a bound too.
		require.NoError(t, conn.Notify(t.Context(), "ping", nil))
		for err = nil; err == nil; {
			err = conn.Notify(t.Context(), "small", []string{kib(3)})
			require.LessOrEqual(t, conn.Stats().QueuedBytes, 600<<10)
		}
		require.Equal(t, errs.RateLimited, errs.KindOf(err))
		require.Greater(t, conn.Stats().QueuedBytes, 512<<10)

		seen := map[string]int{}
		lines := bufio.NewScanner(peer)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var m struct {
				ID     int
				Method string
			}
			require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
			seen[m.Method]++
			synctest.Wait()
			if conn.Stats().QueuedBytes == 0 && m.Method == "small" {
				break
			}
		}
		require.Equal(t, 1, seen["ping"])
		require.Positive(t, seen["small"])
		go func() {
			require.True(t, lines.Scan())
			for !strings.Contains(lines.Text(), `"last"`) {
				require.True(t, lines.Scan())
			}
			_, _ = peer.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":"here"}` + "\n"))
			for lines.Scan() {
			}
		}()
		var got string
		require.NoError(t, conn.Call(t.Context(), "last", nil, &got))
		require.Equal(t, "here", got)
		conn.Close(nil)
		require.Error(t, conn.Wait())
		require.NoError(t, peer.Close())
	})
}

// TestAnswersWaitForRoom: a peer that reads slowly, and asks for more than the
// queue holds, gets every answer; the memory that takes is bounded.
func TestAnswersWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const asked = 40
		conn, peer := deaf(t, HandlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) {
			return kib(100), nil
		}), Config{WriteTimeout: time.Second, Workers: 8})
		for range asked {
			_, err := peer.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"get"}` + "\n"))
			require.NoError(t, err)
		}
		got, part := 0, make([]byte, 50<<10)
		for got < asked {
			time.Sleep(100 * time.Millisecond) // all of it takes far longer than the write timeout
			require.LessOrEqual(t, conn.Stats().QueuedBytes, 512<<10)
			n, err := peer.Read(part)
			require.NoError(t, err)
			got += strings.Count(string(part[:n]), "\n")
		}
		require.NoError(t, peer.Close())
		require.ErrorContains(t, conn.Wait(), "the peer closed the connection")
	})
}

// TestAnswersToWhoDoesNotRead: they wait no longer than the write timeout, and
// the connection ends.
func TestAnswersToWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := deaf(t, HandlerFunc(func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
			return kib(100), nil
		}), Config{WriteTimeout: time.Second, Inline: func(method string) bool { return method == "inline" }})
		for range 20 {
			for _, method := range []string{"get", "inline"} { // the latter's answers do not stop the reading
				_, err := peer.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"` + method + `"}` + "\n"))
				require.NoError(t, err)
			}
		}
		begun := time.Now()
		require.ErrorContains(t, conn.Wait(), "the peer has not read for 1s")
		require.LessOrEqual(t, time.Since(begun), 2*time.Second)
		require.NoError(t, peer.Close())
	})
}

// TestASlowPeerIsKept: as long as it reads anything at all.
func TestASlowPeerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := deaf(t, nobody, Config{WriteTimeout: time.Second})
		require.Error(t, fill(t, conn))
		for range 100 {
			time.Sleep(900 * time.Millisecond)
			_, err := peer.Read(make([]byte, 1<<10))
			require.NoError(t, err)
		}
		require.NoError(t, conn.Notify(t.Context(), "small", nil))
		begun := time.Now()
		require.ErrorContains(t, conn.Wait(), "the peer has not read for 1s", "and now it does not")
		require.LessOrEqual(t, time.Since(begun), 2*time.Second)
		require.NoError(t, peer.Close())
	})
}

// TestNotifyWait waits for room, its context or the end.
func TestNotifyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := deaf(t, nobody, Config{WriteTimeout: time.Hour})
		require.Error(t, fill(t, conn))
		for err := error(nil); err == nil; { // up to the limit, of which it leaves the reserve alone
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err = conn.NotifyWait(ctx, "item", []string{kib(3)})
			cancel()
			require.LessOrEqual(t, conn.Stats().QueuedBytes, 512<<10)
			if err != nil {
				require.Equal(t, errs.Timeout, errs.KindOf(err))
				require.ErrorContains(t, err, "item was not sent")
			}
		}
		require.NoError(t, conn.Notify(t.Context(), "ping", nil))

		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := conn.NotifyWait(t.Context(), "item", []string{kib(3)}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		_, err := bufio.NewReaderSize(peer, 256<<10).Peek(256 << 10)
		require.NoError(t, err)
		waiting.Wait()

		waiting.Go(func() {
			for {
				if err := conn.NotifyWait(t.Context(), "item", []string{kib(3)}); err != nil {
					if kind := errs.KindOf(err); kind != errs.NodeUnavailable {
						t.Errorf("kind %s", kind)
					}
					return
				}
			}
		})
		synctest.Wait()
		conn.Close(nil)
		waiting.Wait()
		require.Error(t, conn.Wait())
		require.NoError(t, peer.Close())
		require.Equal(t, errs.BadParameter, errs.KindOf(conn.NotifyWait(t.Context(), "x", make(chan int))))
	})
}
