package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// once keeps no connection, which would be a goroutine left at the end.
var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// answering is a client of a server that answers each read with the parameters
// the node gets.
func answering(t *testing.T, answer func(params map[string]any, r *http.Request) string) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Params map[string]any `json:"params"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body) // a GET has none
		_, _ = w.Write([]byte(answer(body.Params, r)))
	}))
	t.Cleanup(s.Close)
	return &Client{Addr: strings.TrimPrefix(s.URL, "http://"), HTTP: once}
}

func TestParseAddr(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:4000": "127.0.0.1:4000", "http://127.0.0.1:4000": "127.0.0.1:4000", "http://n1.example:4000/": "n1.example:4000",
		"[::1]:4000": "[::1]:4000", "http://[::1]:4000/": "[::1]:4000", "localhost:1/": "localhost:1",
	} {
		addr, err := ParseAddr(text)
		require.NoError(t, err, text)
		require.Equal(t, want, addr)
	}
	for _, text := range []string{
		"", "n1", "http:", "http://", "https://n1:4000", "n1:", ":4000", "n1:http", "n1:0", "n1:65536", "n1:-1", "n1:4000/x", "n1:4000?x",
		"n1:4000#x", "me@n1:4000", "me:pw@n1:4000", "n1:4000@elsewhere", "a b:4000", "n1:4000\n", "n1\x00:4000", "::1:4000", "http://http://n1:4000",
	} {
		_, err := ParseAddr(text)
		require.Equal(t, errs.BadParameter, errs.KindOf(err), "%q", text)
		require.ErrorContains(t, err, "HOST:PORT")
	}
}

// TestNoParameters: null is not what a node takes for none.
func TestNoParameters(t *testing.T) {
	var none map[string]any
	for want, params := range map[string]any{"": none, `{}`: map[string]any{}, `{"a":"<"}`: map[string]any{"a": "<"}} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var body struct{ Params json.RawMessage }
			require.NoError(t, json.NewDecoder(r.Body).Decode(&body))
			require.Equal(t, want, string(body.Params))
			_, _ = w.Write([]byte(`{"result":1}`))
		}))
		c := &Client{Addr: strings.TrimPrefix(s.URL, "http://"), HTTP: once}
		require.NoError(t, c.Call(t.Context(), "x", params, nil))
		s.Close()
	}
	require.ErrorContains(t, (&Client{}).Call(t.Context(), "x", func() {}, nil), "parameters of x cannot be written")
}

// TestTokenGoesNowhereElse: an address that leads elsewhere is not asked.
func TestTokenGoesNowhereElse(t *testing.T) {
	c := answering(t, func(map[string]any, *http.Request) string {
		t.Error("it was asked")
		return ""
	})
	c.Addr, c.Token = "node:4000@"+c.Addr, "battery staple"
	require.Equal(t, errs.BadParameter, errs.KindOf(c.Call(t.Context(), "x", nil, nil)))
	require.Equal(t, errs.BadParameter, errs.KindOf(c.Live(t.Context())))
}

func TestLive(t *testing.T) {
	c := answering(t, func(_ map[string]any, r *http.Request) string {
		if r.URL.Path != "/livez" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		return `{"live":true}`
	})
	c.Token = "battery staple"
	require.NoError(t, c.Live(t.Context()))

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	require.ErrorContains(t, (&Client{Addr: other.URL, HTTP: once}).Live(t.Context()), "no Glassbox node")
}

// TestPage: the parameters of the next read are the page's, as they are: a
// cursor that is a number stays one, and one of an empty page counts too.
func TestPage(t *testing.T) {
	var got []map[string]any
	c := answering(t, func(params map[string]any, _ *http.Request) string {
		got = append(got, params)
		return `{"result":{"pid":"n1.b.2","entries":[],"next":7}}`
	})
	page, err := c.Page(t.Context(), "process.logs", map[string]any{"pid": "n1.a.1"})
	require.NoError(t, err)
	require.Empty(t, page.Items)
	require.False(t, page.End)
	c.PollTimeout = 3 * time.Second
	page, err = c.Page(t.Context(), "process.logs", page.Next)
	require.NoError(t, err)
	_, err = c.Page(t.Context(), "process.logs", page.Next)
	require.NoError(t, err)
	require.Equal(t, []map[string]any{
		{"pid": "n1.a.1", "wait_ms": 0.},
		{"pid": "n1.b.2", "after": 7., "wait_ms": 10_000.},
		{"pid": "n1.b.2", "after": 7., "wait_ms": 2000.},
	}, got)
}

// TestSilentNode: a node that was frozen between two reads is lost.
func TestSilentNode(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	c := answering(t, func(params map[string]any, _ *http.Request) string {
		if params["after"] != nil {
			<-release
		}
		return `{"result":{"events":[{"id":"n1.a.1"}],"next":"n1.a.1"}}`
	})
	c.PollTimeout = 100 * time.Millisecond
	var cursors []string
	err := c.Stream(t.Context(), "event.list", nil, func(cursor string, _ json.RawMessage) error {
		cursors = append(cursors, cursor)
		return nil
	})
	require.Equal(t, errs.ConnectionLost, errs.KindOf(err), "%v", err)
	require.Equal(t, []string{"n1.a.1"}, cursors)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = c.Page(ctx, "event.list", map[string]any{"after": "n1.a.1"})
	require.Equal(t, errs.Timeout, errs.KindOf(err), "the caller's own deadline is no loss")
}
