package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// ask is a request with so many bytes in all.
func ask(n int) string {
	head, tail := `{"jsonrpc":"2.0","id":1,"method":"x","params":["`, `"]}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

var quiet = HandlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) { return nil, nil })

// TestALineOfTheLimit is accepted, whatever ends it; one byte more is not.
func TestALineOfTheLimit(t *testing.T) {
	const limit = 100_000
	for _, end := range []string{"\n", "\r\n"} {
		one, two := Pipe()
		conn := Start(t.Context(), one, quiet, Config{MaxMessage: limit})
		require.NoError(t, two.SetDeadline(time.Now().Add(time.Minute)))
		answers := bufio.NewReader(two)
		for range 2 {
			_, err := two.Write([]byte(ask(limit) + end))
			require.NoError(t, err)
			line, err := answers.ReadString('\n')
			require.NoError(t, err)
			require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"result":null}`, line)
		}
		_, err := two.Write([]byte(ask(limit+1) + end))
		require.NoError(t, err)
		line, err := answers.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "longer than the limit of 100000 bytes")
		require.Equal(t, errs.TooLarge, errs.KindOf(conn.Wait()))
		require.NoError(t, two.Close())
	}
}

// TestFirstMessage: until it is trusted, a peer cannot make this side hold much.
func TestFirstMessage(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		one, two := Pipe()
		conn := Start(t.Context(), one, HandlerFunc(func(_ context.Context, c *Conn, _ string, _ json.RawMessage) (any, error) {
			if trusted {
				c.Trust()
			}
			return nil, nil
		}), Config{FirstMessage: 64 << 10, Inline: func(string) bool { return true }})
		require.NoError(t, two.SetDeadline(time.Now().Add(time.Minute)))
		_, err := two.Write([]byte(ask(64<<10) + "\n" + ask(100<<10) + "\n"))
		require.NoError(t, err)
		answers := bufio.NewReader(two)
		line, err := answers.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "result")
		line, err = answers.ReadString('\n')
		require.NoError(t, err)
		if trusted {
			require.Contains(t, line, "result")
			conn.Close(nil)
			require.Error(t, conn.Wait())
		} else {
			require.Contains(t, line, "longer than 65536 bytes")
			require.Equal(t, errs.TooLarge, errs.KindOf(conn.Wait()))
		}
		require.NoError(t, two.Close())
	}
}

// TestAnUnfinishedMessage is not waited for for ever, however it trickles in,
// and the peer is told. Between messages there is no such bound.
func TestAnUnfinishedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := Pipe()
		conn := Start(t.Context(), one, quiet, Config{MessageTimeout: 30 * time.Second})
		answers := bufio.NewReader(two)
		whole := ask(1000) + "\n"
		for _, pieces := range [][]string{{whole}, {whole[:500], whole[500:]}, {whole + whole[:500], whole[500:999], "\n" + whole}} {
			for _, piece := range pieces {
				time.Sleep(10 * time.Second)
				_, err := two.Write([]byte(piece))
				require.NoError(t, err)
			}
			for range strings.Count(strings.Join(pieces, ""), "\n") {
				_, err := answers.ReadString('\n')
				require.NoError(t, err)
			}
			time.Sleep(time.Hour)
		}
		_, err := two.Write([]byte(whole[:500]))
		require.NoError(t, err)
		for range 10 { // always in the midst of one, but never of the same
			_, err := two.Write([]byte(whole[500:] + whole[:500]))
			require.NoError(t, err)
			time.Sleep(20 * time.Second)
			_, err = answers.ReadString('\n')
			require.NoError(t, err)
		}
		_, err = two.Write([]byte(whole[500:]))
		require.NoError(t, err)
		_, err = answers.ReadString('\n')
		require.NoError(t, err)

		begun := time.Now()
		for i := 0; i < 100; i++ {
			if _, err := two.Write([]byte(whole[i : i+1])); err != nil {
				break
			}
			time.Sleep(700 * time.Millisecond)
		}
		require.InDelta(t, 30, time.Since(begun).Seconds(), 1)
		line, err := answers.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, `"id":null`)
		require.Contains(t, line, "its end did not come within 30s")
		require.Equal(t, errs.Timeout, errs.KindOf(conn.Wait()))
		require.NoError(t, two.Close())
	})
}

// TestOnlyTheWaitForBytesCounts: while a handler runs inline nobody reads, and
// what came meanwhile came in time.
func TestOnlyTheWaitForBytesCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := Pipe()
		conn := Start(t.Context(), one, HandlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) {
			time.Sleep(time.Minute)
			return nil, nil
		}), Config{MessageTimeout: 30 * time.Second, Inline: func(string) bool { return true }})
		whole := ask(1000) + "\n"
		_, err := two.Write([]byte(whole + whole[:500]))
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = two.Write([]byte(whole[500:]))
		require.NoError(t, err)
		answers := bufio.NewReader(two)
		for range 2 {
			_, err := answers.ReadString('\n')
			require.NoError(t, err)
		}
		conn.Close(nil)
		require.Error(t, conn.Wait())
		require.NoError(t, two.Close())
	})
}
