package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/rpc"
	"github.com/glassbox-dev/glassbox/server"
)

// TestALoginTakesEffectAtOnce: for what is sent right behind it, in the same
// batch even, and for how long a message may be.
func TestALoginTakesEffectAtOnce(t *testing.T) {
	handler := server.ClientHandler(words(t), []byte("battery staple"))
	login := `{"jsonrpc":"2.0","id":0,"method":"` + server.LoginMethod + `","params":{"token":"battery staple"}}`
	var requests []string
	for i := range 50 {
		requests = append(requests, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"word.get","params":{"name":"%s"}}`, i+1, strings.Repeat("w", 10_000)))
	}
	for name, sent := range map[string]string{
		"one after the other": login + "\n" + strings.Join(requests, "\n"),
		"then a batch":        login + "\n[" + strings.Join(requests, ",") + "]",
		"within a batch":      "[" + login + "," + strings.Join(requests[:5], ",") + "]",
	} {
		t.Run(name, func(t *testing.T) {
			near, far := rpc.Pipe()
			conn := rpc.Start(t.Context(), far, handler, rpc.Config{FirstMessage: 64 << 10})
			go func() { _, _ = near.Write([]byte(sent + "\n")) }()
			require.NoError(t, near.SetDeadline(time.Now().Add(time.Minute)))
			answers, wanted := bufio.NewReader(near), strings.Count(sent, `"method"`)
			for got := 0; got < wanted; {
				line, err := answers.ReadString('\n')
				require.NoError(t, err)
				require.NotContains(t, line, "error")
				got += strings.Count(line, `"jsonrpc"`)
			}
			conn.Close(nil)
			require.Error(t, conn.Wait())
			require.NoError(t, near.Close())
		})
	}
}

// TestAWrongTokenIsNotTrusted, and without one only this machine is.
func TestTrusts(t *testing.T) {
	table := words(t)
	near, far := rpc.Pipe()
	conn := rpc.Start(t.Context(), far, server.ClientHandler(table, []byte("battery staple")), rpc.Config{FirstMessage: 1 << 10})
	peer := rpc.Start(t.Context(), near, nil, rpc.Config{})
	require.Equal(t, errs.Unauthorized, errs.KindOf(peer.Call(t.Context(), server.LoginMethod, map[string]string{"token": "wrong"}, nil)))
	require.Equal(t, errs.Unauthorized, errs.KindOf(peer.Call(t.Context(), "word.get", map[string]string{"name": "w"}, nil)))
	require.Error(t, peer.Call(t.Context(), "word.get", map[string]string{"name": strings.Repeat("w", 1<<10)}, nil))
	require.Equal(t, errs.TooLarge, errs.KindOf(conn.Wait()))
	require.Error(t, peer.Wait())

	for token, want := range map[string]map[string]bool{
		"":       {"127.0.0.1": true, "::1": true, "192.0.2.1": false},
		"secret": {"127.0.0.1": false, "192.0.2.1": false},
	} {
		handler := server.ClientHandler(table, []byte(token)).(interface{ Trusts(net.Addr) bool })
		for ip, trusted := range want {
			require.Equal(t, trusted, handler.Trusts(&net.TCPAddr{IP: net.ParseIP(ip)}), "%q %s", token, ip)
		}
		require.False(t, handler.Trusts(nil))
	}
}

// TestASubscriberReadsAtItsPace: one that reads slowly gets every event, and the
// node holds no more for it than its queue.
func TestASubscriberReadsAtItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, events = 100, 10_000
		near, far := rpc.Pipe()
		conn := rpc.Start(t.Context(), far, server.ClientHandler(words(t), []byte("secret")), rpc.Config{MaxMessage: 8 << 10, QueueBytes: 16 << 10, WriteTimeout: time.Hour})
		_, err := fmt.Fprintf(near, `{"jsonrpc":"2.0","method":%q,"params":{"token":"secret"}}`+"\n"+
			`{"jsonrpc":"2.0","method":"count.subscribe","params":{"after":%d,"until":%d}}`+"\n", server.LoginMethod, first, first+events)
		require.NoError(t, err)
		lines := bufio.NewScanner(near)
		next := uint64(first + 1)
		for lines.Scan() {
			var n struct {
				Method string
				Params struct {
					Event number
					Error *errs.Problem
				}
			}
			require.NoError(t, json.Unmarshal(lines.Bytes(), &n))
			require.Nil(t, n.Params.Error)
			if n.Method == "end" {
				break
			}
			require.Equal(t, next, n.Params.Event.Seq)
			if next++; next%1000 == 0 {
				time.Sleep(time.Minute)
				require.LessOrEqual(t, conn.Stats().QueuedBytes, 18<<10)
			}
		}
		require.EqualValues(t, first+events+1, next)
		conn.Close(nil)
		require.Error(t, conn.Wait())
		require.NoError(t, near.Close())
	})
}
