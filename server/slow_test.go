package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/rpc"
	"github.com/glassbox-dev/glassbox/server"
)

// connect serves in memory, in a bubble, and connects.
func connect(t *testing.T, cfg server.Config) (net.Conn, *rpc.Memory) {
	t.Helper()
	m := rpc.NewMemory()
	l, err := m.Listen("node")
	require.NoError(t, err)
	serveAt(t, cfg, l)
	conn, err := m.Dial(t.Context(), "node")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn, m
}

// post is the head of a request with a body of so many bytes.
func post(path string, length int, head ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n", path, length, strings.Join(head, ""))
}

// read reads one answer with its body.
func read(t *testing.T, from *bufio.Reader) (*http.Response, string) {
	t.Helper()
	answer, err := http.ReadResponse(from, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer, string(body)
}

// TestABodyMustCome within its time, also one that nobody asks for.
func TestABodyMustCome(t *testing.T) {
	for path, want := range map[string]int{"/rpc": 400, "/livez": 405} {
		synctest.Test(t, func(t *testing.T) {
			conn, _ := connect(t, server.Config{})
			begun := time.Now()
			_, err := conn.Write([]byte(post(path, 100)))
			require.NoError(t, err)
			go func() {
				for err := error(nil); err == nil; time.Sleep(time.Second) {
					_, err = conn.Write([]byte(" "))
				}
			}()
			answers := bufio.NewReader(conn)
			answer, body := read(t, answers)
			require.Equal(t, want, answer.StatusCode)
			require.Equal(t, 30*time.Second, time.Since(begun))
			if path == "/rpc" {
				require.Contains(t, body, "the body did not come within 30s")
			}
			_, err = answers.ReadByte()
			require.ErrorIs(t, err, io.EOF, "and the connection is closed")
			time.Sleep(2 * time.Second)
		})
	}
}

// TestAnAnswerMustBeRead within its time; who does not holds nothing after it.
func TestAnAnswerMustBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := connect(t, server.Config{MaxBody: 4 << 20})
		body := `{"jsonrpc":"2.0","id":1,"method":"word.get","params":{"name":"` + strings.Repeat("x", 1<<20) + `"}}`
		_, err := conn.Write([]byte(post("/rpc", len(body)) + body))
		require.NoError(t, err)
		time.Sleep(61 * time.Second)
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Less(t, len(got), 1<<20, "the rest was given up")
	})
}

// TestTimesBoundTheClientOnly: an operation may take longer than a body or an
// answer, and a connection may be idle longer.
func TestTimesBoundTheClientOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := connect(t, server.Config{})
		answers := bufio.NewReader(conn)
		ask := func(head, body string) string {
			_, err := conn.Write([]byte(post("/rpc", len(body), head) + body))
			require.NoError(t, err)
			if head != "" {
				line, err := answers.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
				_, err = answers.ReadString('\n')
				require.NoError(t, err)
			}
			answer, got := read(t, answers)
			require.Equal(t, 200, answer.StatusCode)
			return got
		}
		begun := time.Now()
		got := ask("", `{"jsonrpc":"2.0","id":1,"method":"count.list","params":{"until":99,"after":99,"timeout_ms":60000}}`)
		require.Contains(t, got, "did not answer within 60000 ms")
		require.Equal(t, time.Minute, time.Since(begun))
		time.Sleep(time.Minute)
		require.Contains(t, ask("Expect: 100-continue\r\n", `{"jsonrpc":"2.0","id":1,"method":"word.get","params":{"name":"w"}}`), `"name":"w"`)
		require.NoError(t, conn.Close())
	})
}

// TestHEADOfAStreamEnds, so that the connection serves on.
func TestHEADOfAStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := connect(t, server.Config{})
		answers, begun := bufio.NewReader(conn), time.Now()
		for _, request := range []string{"HEAD /api/v1/count/stream?until=99&after=99", "HEAD /livez"} {
			_, err := conn.Write([]byte(request + " HTTP/1.1\r\nHost: localhost\r\n\r\n"))
			require.NoError(t, err)
			answer, err := http.ReadResponse(answers, &http.Request{Method: http.MethodHead})
			require.NoError(t, err)
			require.Equal(t, 200, answer.StatusCode)
			require.Zero(t, time.Since(begun))
		}
	})
}

// TestAWebSocketMessageMustEnd: one that has begun is not waited for for ever;
// the next one is.
func TestAWebSocketMessageMustEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, m := connect(t, server.Config{})
		require.NoError(t, conn.Close())
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return m.Dial(ctx, "node") }}
		ws, _, err := websocket.Dial(t.Context(), "ws://localhost/rpc", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		require.NoError(t, err)
		for range 2 {
			time.Sleep(time.Hour)
			require.NoError(t, ws.Write(t.Context(), websocket.MessageText, []byte(`{"jsonrpc":"2.0","id":1,"method":"word.delete","params":{"name":"w"}}`)))
			_, answer, err := ws.Read(t.Context())
			require.NoError(t, err)
			require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"result":null}`, string(answer))
		}
		begun := time.Now()
		w, err := ws.Writer(t.Context(), websocket.MessageText)
		require.NoError(t, err)
		_, err = w.Write([]byte(`{"jsonrpc":"` + strings.Repeat("2", 10_000))) // more than the client buffers
		require.NoError(t, err)
		_, _, err = ws.Read(t.Context())
		require.Error(t, err)
		require.Equal(t, 30*time.Second, time.Since(begun))
		_ = ws.CloseNow()
		transport.CloseIdleConnections()
	})
}
