package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/rpc"
	"github.com/glassbox-dev/glassbox/server"
	"github.com/glassbox-dev/glassbox/server/client"
)

// TestEventStream: a followed operation over REST is a stream of server-sent
// events that goes on where the client left off.
func TestEventStream(t *testing.T) {
	addr := serve(t, server.Config{})
	for name, ask := range map[string]func() answer{
		"by its own route": func() answer { return do(t, "GET", addr+"/api/v1/count/stream", "") },
		"by a parameter":   func() answer { return do(t, "GET", addr+"/api/v1/count?follow", "") },
		"by Accept":        func() answer { return do(t, "GET", addr+"/api/v1/count", "", "Accept: text/event-stream") },
	} {
		t.Run(name, func(t *testing.T) {
			a := ask()
			require.Equal(t, "text/event-stream", a.Header.Get("Content-Type"))
			require.Equal(t, "id: 1\nevent: item\ndata: {\"seq\":1}\n\n"+
				"id: 2\nevent: Even\ndata: {\"seq\":2,\"type\":\"Even\"}\n\nid: 3\nevent: item\ndata: {\"seq\":3}\n\n", a.Body)
		})
	}
	resumed := do(t, "GET", addr+"/api/v1/count/stream", "", "Last-Event-ID: 2")
	require.Equal(t, "id: 3\nevent: item\ndata: {\"seq\":3}\n\n", resumed.Body)
	empty := do(t, "GET", addr+"/api/v1/count/stream?after=3", "")
	require.Equal(t, 200, empty.Status)
	require.Empty(t, empty.Body)

	require.Equal(t, errs.BadParameter, do(t, "GET", addr+"/api/v1/count/stream", "", "Last-Event-ID: two").problem(t).Kind)
	require.Equal(t, errs.NotFound, do(t, "GET", addr+"/api/v1/count/stream?after=66", "").problem(t).Kind, "an error before the first item is an ordinary answer")
	late := do(t, "GET", addr+"/api/v1/count/stream?after=64&until=70", "")
	require.Contains(t, late.Body, "event: error\ndata: {", "an error later is the last event")
	require.Contains(t, late.Body, "66 is not there")
}

// TestAQuietStreamBeginsAndEnds: the head comes although nothing happens, and
// the end of the server ends it.
func TestAQuietStreamBeginsAndEnds(t *testing.T) {
	addr := serve(t, server.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/api/v1/count/stream?after=99&until=99", nil)
	require.NoError(t, err)
	got, err := once.Do(r)
	require.NoError(t, err)
	defer got.Body.Close()
	line, err := bufio.NewReader(got.Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, ": still here\n", line)
}

// dial opens a WebSocket.
func dial(t *testing.T, url string, header http.Header) *websocket.Conn {
	t.Helper()
	ws, answer, err := websocket.Dial(t.Context(), "ws://"+url, &websocket.DialOptions{HTTPHeader: header, HTTPClient: once})
	require.NoError(t, err, "%v", answer)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

func send(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	require.NoError(t, ws.Write(t.Context(), websocket.MessageText, []byte(text)))
}

func receive(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, message, err := ws.Read(ctx)
	require.NoError(t, err)
	return string(message)
}

// TestWebSocket: calls, and a subscription delivered as notifications.
func TestWebSocket(t *testing.T) {
	addr := serve(t, server.Config{})
	ws := dial(t, addr+"/rpc", nil)
	send(t, ws, `{"jsonrpc":"2.0","id":1,"method":"word.delete","params":{"name":"w"}}`)
	require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"result":null}`, receive(t, ws))
	send(t, ws, `nonsense`)
	require.Contains(t, receive(t, ws), `-32700`)
	send(t, ws, `[{"jsonrpc":"2.0","id":2,"method":"nope"}]`)
	require.Contains(t, receive(t, ws), `-32601`)

	send(t, ws, `{"jsonrpc":"2.0","id":3,"method":"count.subscribe"}`)
	var got []string
	for range 5 { // the answer, three numbers and the end
		got = append(got, receive(t, ws))
	}
	all := strings.Join(got, "\n")
	require.Contains(t, all, `"subscription":"s1"`)
	for _, want := range []string{`{"seq":1}`, `{"seq":2,"type":"Even"}`, `{"seq":3}`, `"method":"end"`} {
		require.Contains(t, all, want)
	}
	over := do(t, "POST", addr+"/rpc", `{"jsonrpc":"2.0","id":3,"method":"count.subscribe"}`)
	require.Contains(t, over.Body, "not_acceptable", "nothing can be sent later over a POST")
}

// TestWebSocketGuards: a page of another site cannot open one, a token can be
// in the query.
func TestWebSocketGuards(t *testing.T) {
	_, answer, err := websocket.Dial(t.Context(), "ws://"+serve(t, server.Config{})+"/rpc",
		&websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://evil.example"}}, HTTPClient: once})
	require.Error(t, err)
	require.Equal(t, http.StatusForbidden, answer.StatusCode)

	addr := serve(t, server.Config{Token: []byte("battery-staple")})
	_, answer, err = websocket.Dial(t.Context(), "ws://"+addr+"/rpc", &websocket.DialOptions{HTTPClient: once})
	require.Error(t, err)
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
	ws := dial(t, addr+"/rpc?access_token=battery-staple", nil)
	send(t, ws, `{"jsonrpc":"2.0","id":1,"method":"word.delete","params":{"name":"w"}}`)
	require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"result":null}`, receive(t, ws))
}

// TestAWebSocketMessageHasABound: a longer one closes the connection with a
// reason.
func TestAWebSocketMessageHasABound(t *testing.T) {
	ws := dial(t, serve(t, server.Config{MaxBody: 1024})+"/rpc", nil)
	send(t, ws, strings.Repeat(" ", 2000))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for {
		_, _, err := ws.Read(ctx)
		if err != nil {
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			return
		}
	}
}

// TestClientsOnTheNodesPort: the nodes' TCP port takes JSON-RPC clients, closes
// on garbage with a logged reason, and serves the others on.
func TestClientsOnTheNodesPort(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	conn, err := net.Dial("tcp", n.RPC())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	answers := json.NewDecoder(conn)
	ask := func(request string) (answer struct {
		ID     int             `json:"id"`
		Method string          `json:"method"`
		Result json.RawMessage `json:"result"`
		Params json.RawMessage `json:"params"`
	},
	) {
		if request != "" {
			_, err := conn.Write([]byte(request + "\n"))
			require.NoError(t, err)
		}
		require.NoError(t, answers.Decode(&answer))
		return answer
	}
	require.JSONEq(t, `{"node":"n1","payload":5}`, string(ask(`{"jsonrpc":"2.0","id":1,"method":"node.ping","params":{"node":"n1","payload":5}}`).Result))
	require.Equal(t, 2, ask(`{"jsonrpc":"2.0","id":2,"method":"event.subscribe","params":{"after":"now"}}`).ID)

	// Somebody else sends garbage, or a frame of 64 MiB.
	for name, garbage := range map[string]string{
		"garbage": strings.Repeat("\x00\xff{{{\n", 100),
		"a web page's post": "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" +
			`{"jsonrpc":"2.0","method":"sandbox.create","params":{"id":"s","children":[{"id":"a","run":{"exec":["true"]}}]}}` + "\n",
		"64 MiB": `{"jsonrpc":"2.0","id":1,"method":"node.ping","params":{"node":"n1","payload":"` + strings.Repeat("x", 64<<20) + `"}}`,
	} {
		other, err := net.Dial("tcp", n.RPC())
		require.NoError(t, err)
		require.NoError(t, other.SetDeadline(time.Now().Add(10*time.Second)))
		_, _ = other.Write([]byte(garbage)) // the node closes before it has read it all
		for err == nil {
			_, err = other.Read(make([]byte, 4096))
		}
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "%s: the connection is closed: %v", name, err)
		require.NoError(t, other.Close())
	}
	require.Eventually(t, func() bool {
		log := n.Log.String()
		return strings.Contains(log, "9 messages in a row were no JSON") && strings.Contains(log, "1 messages in a row were no JSON") && strings.Contains(log, "a message is longer than the limit of 4194304 bytes")
	}, 5*time.Second, 5*time.Millisecond, "the reasons are logged")

	nodetest.Call[json.RawMessage](t, n, "sandbox.create", json.RawMessage(`{"id":"s","children":[{"id":"a","run":{"exec":["true"]},"restart":"temporary"}]}`))
	event := ask("")
	require.Equal(t, "event", event.Method)
	require.Contains(t, string(event.Params), "SandboxCreated")
}

// TestWithoutATokenOnlyThisMachine: a client that came from elsewhere to the
// nodes' port, which others can reach, runs nothing.
func TestWithoutATokenOnlyThisMachine(t *testing.T) {
	table, err := op.NewTable(alone{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	near, far := rpc.Pipe() // its addresses are no loopback
	node := rpc.Start(t.Context(), far, server.ClientHandler(table, nil), rpc.Config{})
	elsewhere := rpc.Start(t.Context(), near, nil, rpc.Config{})
	err = elsewhere.Call(t.Context(), "cluster.status", nil, nil)
	require.Equal(t, errs.Forbidden, errs.KindOf(err))
	require.ErrorContains(t, err, "--token-file")
	elsewhere.Close(nil)
	require.Error(t, elsewhere.Wait())
	require.Error(t, node.Wait())
}

// TestLogin: with a token, a client on the nodes' port shows it first.
func TestLogin(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("battery staple"), 0o600))
	cfg := nodetest.Configs(t, 1)[0]
	cfg.TokenFile = token
	conn, err := net.Dial("tcp", nodetest.Run(t, cfg).RPC())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	answers := bufio.NewReader(conn)
	for _, step := range [][2]string{
		{`{"jsonrpc":"2.0","id":1,"method":"cluster.status"}`, "session.login"},
		{`{"jsonrpc":"2.0","id":2,"method":"session.login","params":{"token":7}}`, "must be a string"},
		{`{"jsonrpc":"2.0","id":3,"method":"session.login","params":{"token":"wrong"}}`, "wrong token"},
		{`{"jsonrpc":"2.0","id":4,"method":"session.login","params":{"token":"battery staple"}}`, `{"ok":true}`},
		{`{"jsonrpc":"2.0","id":5,"method":"cluster.status"}`, `"cluster":"glassbox"`},
	} {
		_, err := conn.Write([]byte(step[0] + "\n"))
		require.NoError(t, err)
		answer, err := answers.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, answer, step[1])
	}
}

func TestClient(t *testing.T) {
	addr := serve(t, server.Config{})
	c := &client.Client{Addr: addr, HTTP: once}
	var seen []string
	require.NoError(t, c.Stream(t.Context(), "count.list", map[string]any{"after": 1}, func(cursor string, _ json.RawMessage) error {
		seen = append(seen, cursor)
		return nil
	}))
	require.Equal(t, []string{"2", "3"}, seen)
	stop := errors.New("enough")
	require.ErrorIs(t, c.Stream(t.Context(), "count.list", nil, func(string, json.RawMessage) error { return stop }), stop)
	require.Equal(t, errs.BadParameter, errs.KindOf(c.Stream(t.Context(), "word.get", map[string]any{"name": "x"}, nil)), "it cannot be followed")

	var raw json.RawMessage
	require.NoError(t, c.Call(t.Context(), "word.get", map[string]any{"name": "x"}, &raw))
	require.Equal(t, errs.MethodNotFound, errs.KindOf(c.Call(t.Context(), "nope", nil, nil)))
	require.Equal(t, errs.BadParameter, errs.KindOf(c.Call(t.Context(), "word.get", make(chan int), nil)))
	require.Equal(t, errs.Internal, errs.KindOf(c.Call(t.Context(), "word.get", map[string]any{"name": "x"}, new(int))))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := &client.Client{Addr: l.Addr().String(), HTTP: once}
	require.NoError(t, l.Close())
	err = nobody.Call(t.Context(), "word.get", nil, nil)
	require.Equal(t, errs.NodeUnavailable, errs.KindOf(err))
	require.ErrorContains(t, err, "--addr")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, errs.Cancelled, errs.KindOf(c.Call(cancelled, "word.get", nil, nil)))
	require.Equal(t, errs.BadParameter, errs.KindOf((&client.Client{Addr: "a b"}).Call(t.Context(), "x", nil, nil)))
}

// TestClientOfSomethingElse: what answers is no node.
func TestClientOfSomethingElse(t *testing.T) {
	for _, body := range []string{"<html>", "{}", "[]"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }), ReadHeaderTimeout: time.Second}
		go func() { _ = hs.Serve(l) }()
		err = (&client.Client{Addr: l.Addr().String(), HTTP: once}).Call(t.Context(), "x", nil, nil)
		require.ErrorContains(t, err, "no Glassbox node")
		require.NoError(t, hs.Close())
	}
}
