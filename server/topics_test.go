package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
)

// TestSubscriptions: a topic over SSE, with resume, and over a WebSocket.
func TestSubscriptions(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	publish := func(topic string, message int) {
		nodetest.Call[json.RawMessage](t, nodes[0], "pubsub.publish", map[string]any{"topic": topic, "message": message})
	}
	read := func(lastID string, want ...string) (last string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+nodes[1].HTTP()+"/api/v1/events/stream?topic=shop/orders", nil)
		require.NoError(t, err)
		if lastID != "" {
			r.Header.Set("Last-Event-ID", lastID)
		}
		answer, err := once.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		require.Equal(t, "text/event-stream", answer.Header.Get("Content-Type"))
		lines := bufio.NewScanner(answer.Body)
		for len(want) > 0 && lines.Scan() {
			switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
			case "id":
				last = value
			case "event":
				require.Equal(t, "Message", value)
			case "data":
				require.Contains(t, value, `"subject":"shop/orders","data":`+want[0])
				want = want[1:]
			}
		}
		require.Empty(t, want)
		return last
	}
	publish("shop/orders", 1)
	publish("else", 0)
	publish("shop/orders", 2)
	last := read("", "1", "2")
	publish("shop/orders", 3)
	publish("shop/orders", 4)
	last = read(last, "3")
	read(last, "4")

	ws := dial(t, nodes[1].HTTP()+"/rpc", nil)
	send(t, ws, `{"jsonrpc":"2.0","id":1,"method":"event.subscribe","params":{"topic":"a\nb"}}`)
	require.Contains(t, receive(t, ws), `"param":"topic"`)
	send(t, ws, `{"jsonrpc":"2.0","id":1,"method":"event.subscribe","params":{"topic":"shop/orders","after":"`+last+`"}}`)
	got := receive(t, ws) + receive(t, ws)
	require.Contains(t, got, `"subscription":"s1"`)
	require.Contains(t, got, `"data":4`)
	publish("shop/orders", 5)
	require.Contains(t, receive(t, ws), `"data":5`)
}
