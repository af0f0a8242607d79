package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/server"
)

func TestMain(m *testing.M) { nodetest.Main(m) }

// alone is the router of a table that knows one node.
type alone struct{ ready chan struct{} }

func (alone) Self() string              { return "n1" }
func (alone) Targets() []op.Target      { return []op.Target{{Node: "n1"}} }
func (a alone) Ready() <-chan struct{}  { return a.ready }
func (alone) ReadyPeer() (string, bool) { return "", false }
func (alone) Forward(_ context.Context, node string, _ op.Forwarded) (json.RawMessage, error) {
	return nil, errs.New(errs.NotFound, "no node %q", node)
}

type echoParams struct {
	Name  string   `json:"name" op:"required"`
	Count int      `json:"count" min:"1" max:"9" default:"1"`
	Tags  []string `json:"tags"`
	Loud  bool     `json:"loud"`
}

// countPage is a page of the numbers behind After.
type countPage struct {
	Numbers []number `json:"numbers"`
	Next    uint64   `json:"next"`
	End     bool     `json:"end,omitempty"`
}

type number struct {
	Seq  uint64 `json:"seq"`
	Type string `json:"type,omitempty"`
}

type countParams struct {
	After  uint64 `json:"after"`
	Follow bool   `json:"follow"`
	WaitMS int    `json:"wait_ms"`
	Until  uint64 `json:"until" default:"3"`
}

// words makes a few operations for these tests.
func words(t *testing.T) *op.Table {
	t.Helper()
	ready := make(chan struct{})
	close(ready)
	table, err := op.NewTable(alone{ready}, slog.New(slog.DiscardHandler),
		op.Define(op.Spec{Name: "word.put", Summary: "Echo", Method: http.MethodPut, Path: "/words/:name", Effect: op.Write, Runs: op.Anywhere, Status: 201},
			func(_ context.Context, in echoParams) (map[string]any, error) {
				return map[string]any{"id": in.Name, "count": in.Count, "tags": in.Tags, "loud": in.Loud}, nil
			}),
		op.Define(op.Spec{Name: "word.get", Summary: "Echo", Method: http.MethodGet, Path: "/words/:name", Effect: op.Read, Runs: op.Anywhere},
			func(_ context.Context, in echoParams) (echoParams, error) { return in, nil }),
		op.Define(op.Spec{Name: "word.delete", Summary: "Nothing", Method: http.MethodDelete, Path: "/words/:name", Effect: op.Write, Runs: op.Anywhere, Status: 204},
			func(_ context.Context, in echoParams) (*struct{}, error) {
				switch in.Name {
				case "panic":
					panic("on purpose")
				case "spec":
					return nil, errs.New(errs.BadSpec, "two faults").WithFaults([]errs.Fault{{Pointer: "/a", Message: "b"}, {Pointer: "/c", Message: "d"}})
				}
				return nil, nil
			}),
		op.Define(op.Spec{Name: "count.list", Summary: "Count", Method: http.MethodGet, Path: "/count", Effect: op.Read, Runs: op.Anywhere},
			func(ctx context.Context, in countParams) (countPage, error) {
				if in.After == 66 {
					return countPage{}, errs.New(errs.NotFound, "66 is not there")
				}
				if in.After >= in.Until && in.Until == 99 { // never ends
					<-ctx.Done()
					return countPage{}, ctx.Err()
				}
				page := countPage{Numbers: []number{}, Next: in.After, End: in.After >= in.Until}
				if in.After < in.Until {
					page.Next++
					page.Numbers = append(page.Numbers, number{Seq: page.Next, Type: map[bool]string{true: "Even"}[page.Next%2 == 0]})
				}
				return page, nil
			}, op.Followed("numbers", "seq")),
		op.Define(op.Spec{Name: "count.subscribe", Summary: "Count", Method: http.MethodGet, Path: "/count/stream", Effect: op.Read, Runs: op.Anywhere, StreamOf: "count.list"},
			func(ctx context.Context, in countParams) (map[string]string, error) {
				s, err := op.SubscriptionsFrom(ctx)
				if err != nil {
					return nil, err
				}
				id, err := s.Add(op.Request{Method: "count.list", Params: fmt.Appendf(nil, `{"after":%d,"until":%d}`, in.After, in.Until)})
				return map[string]string{"subscription": id}, err
			}),
	)
	require.NoError(t, err)
	return table
}

// serve serves them and returns the address.
func serve(t *testing.T, cfg server.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serveAt(t, cfg, l)
	return l.Addr().String()
}

func serveAt(t *testing.T, cfg server.Config, l net.Listener) {
	t.Helper()
	cfg.Table, cfg.Log = words(t), slog.New(slog.DiscardHandler)
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 1 << 16
	}
	if cfg.Ready == nil {
		cfg.Ready = func() (bool, []string) { return true, nil }
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.New(cfg).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

// answer is what a request got.
type answer struct {
	Status int
	Header http.Header
	Body   string
	Length int64
}

func (a answer) problem(t *testing.T) errs.Problem {
	t.Helper()
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), a.Body)
	var p errs.Problem
	require.NoError(t, json.Unmarshal([]byte(a.Body), &p))
	require.Equal(t, a.Status, p.Status)
	require.NotEmpty(t, p.Detail)
	return p
}

var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// do sends a request; head is "Name: value" each, Host included.
func do(t *testing.T, method, url, body string, head ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+url, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range head {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	got, err := once.Do(r)
	require.NoError(t, err)
	defer got.Body.Close()
	raw, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	return answer{got.StatusCode, got.Header, string(raw), got.ContentLength}
}

func TestREST(t *testing.T) {
	addr := serve(t, server.Config{})
	a := do(t, "PUT", addr+"/api/v1/words/w?count=3&tags=a,b&tags=c", `{"loud":true}`)
	require.Equal(t, 201, a.Status, a.Body)
	require.Equal(t, "/api/v1/words/w/w", a.Header.Get("Location"))
	require.JSONEq(t, `{"id":"w","count":3,"tags":["a","b","c"],"loud":true}`, a.Body)

	a = do(t, "DELETE", addr+"/api/v1/words/w", "")
	require.Equal(t, 204, a.Status)
	require.Empty(t, a.Body)
	require.Equal(t, 200, do(t, "GET", addr+"/", "").Status)
}

// TestANameInAPathIsDecodedOnce: shop/cache and shop%2Fcache are the same name,
// and a name with a percent sign can be written.
func TestANameInAPathIsDecodedOnce(t *testing.T) {
	addr := serve(t, server.Config{})
	for path, want := range map[string]string{
		"shop/cache": "shop/cache", "shop%2Fcache": "shop/cache", "a%20b": "a b", "100%25": "100%", "%2525": "%25",
		"%C3%BC": "ü", "a+b": "a+b", "a%2Bb/c%2Fd": "a+b/c/d",
	} {
		a := do(t, "GET", addr+"/api/v1/words/"+path, "")
		require.Equal(t, 200, a.Status, a.Body)
		var got echoParams
		require.NoError(t, json.Unmarshal([]byte(a.Body), &got))
		require.Equal(t, want, got.Name, path)
	}
}

// TestBadRequests: each gets a problem that names what is wrong.
func TestBadRequests(t *testing.T) {
	addr := serve(t, server.Config{})
	for name, tc := range map[string]struct {
		method, path, body string
		head               []string
		kind               errs.Kind
		detail             string
	}{
		"unknown parameter":   {"GET", "/api/v1/words/w?colour=red", "", nil, errs.BadParameter, `"colour": unknown; known are: name, count`},
		"ill-typed in query":  {"GET", "/api/v1/words/w?count=three", "", nil, errs.BadParameter, `"count": must be an integer, not "three"`},
		"ill-typed in body":   {"PUT", "/api/v1/words/w", `{"count":"3"}`, nil, errs.BadParameter, `"count": must be an integer`},
		"out of range":        {"GET", "/api/v1/words/w?count=10", "", nil, errs.BadParameter, "at most 9"},
		"given twice":         {"PUT", "/api/v1/words/w?loud=true", `{"loud":true}`, nil, errs.BadParameter, "more than one of"},
		"twice in the query":  {"GET", "/api/v1/words/w?count=1&count=2", "", nil, errs.BadParameter, "given 2 times"},
		"twice in the body":   {"PUT", "/api/v1/words/w", `{"loud":true,"loud":true}`, nil, errs.BadParameter, "given twice"},
		"timeout":             {"GET", "/api/v1/words/w?timeout_ms=0", "", nil, errs.BadParameter, "timeout_ms"},
		"another node":        {"GET", "/api/v1/words/w?node=n9", "", nil, errs.NotFound, "n9"},
		"not JSON":            {"PUT", "/api/v1/words/w", `{"loud":`, nil, errs.ParseError, "not valid JSON"},
		"no object":           {"PUT", "/api/v1/words/w", `[1]`, nil, errs.BadParameter, "must be an object"},
		"another media type":  {"PUT", "/api/v1/words/w", `x=1`, []string{"Content-Type: text/plain"}, errs.UnsupportedMedia, "text/plain"},
		"too large":           {"PUT", "/api/v1/words/w", `{"tags":["` + strings.Repeat("x", 1<<16) + `"]}`, nil, errs.TooLarge, "65536"},
		"malformed query":     {"GET", "/api/v1/words/w?count=%zz", "", nil, errs.BadParameter, "the query cannot be read"},
		"semicolon in query":  {"GET", "/api/v1/words/w?count=1;loud=2", "", nil, errs.BadParameter, "separate parameters by"},
		"not UTF-8":           {"PUT", "/api/v1/words/w", "{\"tags\":[\"\xff\"]}", nil, errs.ParseError, "not UTF-8"},
		"too deep":            {"PUT", "/api/v1/words/w", strings.Repeat("[", 20_000), nil, errs.ParseError, "deeper than 10000"},
		"gzip":                {"PUT", "/api/v1/words/w", "{}", []string{"Content-Encoding: gzip"}, errs.UnsupportedMedia, `"gzip"`},
		"RPC gzip":            {"POST", "/rpc", "{}", []string{"Content-Encoding: gzip"}, errs.UnsupportedMedia, "as it is"},
		"no such path":        {"GET", "/api/v1/wrods", "", nil, errs.NotFound, "/openapi.json lists"},
		"no such method":      {"POST", "/api/v1/words/w", "", nil, errs.MethodNotAllowed, "POST"},
		"panic":               {"DELETE", "/api/v1/words/panic", "", nil, errs.Internal, "on purpose"},
		"faults":              {"DELETE", "/api/v1/words/spec", "", nil, errs.BadSpec, "two faults"},
		"RPC is no WebSocket": {"GET", "/rpc", "", nil, errs.InvalidRequest, "POST"},
		"RPC without type":    {"POST", "/rpc", `{}`, []string{"Content-Type: text/plain"}, errs.UnsupportedMedia, "application/json"},
		"RPC too large":       {"POST", "/rpc", strings.Repeat(" ", 1<<17), nil, errs.TooLarge, "65536"},
		"foreign host":        {"GET", "/api/v1/words/w", "", []string{"Host: evil.example"}, errs.Forbidden, "evil.example"},
		"foreign origin":      {"GET", "/api/v1/words/w", "", []string{"Origin: http://evil.example"}, errs.Forbidden, "evil.example"},
		"null origin":         {"GET", "/api/v1/words/w", "", []string{"Origin: null"}, errs.Forbidden, "null"},
	} {
		t.Run(name, func(t *testing.T) {
			p := do(t, tc.method, addr+tc.path, tc.body, tc.head...).problem(t)
			require.Equal(t, tc.kind, p.Kind)
			require.Contains(t, p.Detail, tc.detail)
			if name == "faults" {
				require.Len(t, p.Faults, 2)
			}
		})
	}
	for _, host := range []string{"localhost:1", "LOCALHOST", "localhost.", "LocalHost.:80", "127.0.0.2", "[::1]:80"} {
		require.Equal(t, 200, do(t, "GET", addr+"/api/v1/words/w", "", "Origin: http://localhost:3000", "Host: "+host).Status, host)
	}
	require.Equal(t, 201, do(t, "PUT", addr+"/api/v1/words/w", "{}", "Content-Encoding: identity").Status)
}

// TestWithoutAHost: HTTP/1.0 need not say it, but without a token it is what
// tells a program from a page.
func TestWithoutAHost(t *testing.T) {
	conn, err := net.Dial("tcp", serve(t, server.Config{}))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET /api/v1/words/w HTTP/1.0\r\n\r\n"))
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answer), "does not say which host it means")
}

// TestHEAD is GET without the body.
func TestHEAD(t *testing.T) {
	addr := serve(t, server.Config{})
	for path, status := range map[string]int{
		"/livez": 200, "/": 200, "/openapi.json": 200, "/api/v1/words/w": 200, "/api/v1/words/w?count=77": 400, "/nope": 404,
		"/api/v1/count/stream?until=99&after=99": 200, "/rpc": 400,
	} {
		head := do(t, "HEAD", addr+path, "")
		require.Equal(t, status, head.Status, path)
		require.Empty(t, head.Body)
		if strings.Contains(path, "stream") {
			require.Equal(t, "text/event-stream", head.Header.Get("Content-Type"))
			continue
		}
		get := do(t, "GET", addr+path, "")
		require.Equal(t, get.Header.Get("Content-Type"), head.Header.Get("Content-Type"))
		require.Equal(t, get.Length, head.Length, path)
	}
	p := do(t, "POST", addr+"/livez", "").problem(t)
	require.Equal(t, errs.MethodNotAllowed, p.Kind)
}

func TestToken(t *testing.T) {
	addr := serve(t, server.Config{Token: []byte("battery staple")})
	for _, head := range []string{"Authorization: Bearer wrong", "Authorization: Basic battery staple", "X: y"} {
		a := do(t, "GET", addr+"/api/v1/words/w", "", head)
		require.Equal(t, errs.Unauthorized, a.problem(t).Kind)
		require.Equal(t, "Bearer", a.Header.Get("WWW-Authenticate"))
	}
	for _, head := range []string{"Authorization: bearer battery staple", "Authorization: BEARER   battery staple"} {
		require.Equal(t, 200, do(t, "GET", addr+"/api/v1/words/w", "", head).Status, head)
	}
	// With a token the host does not matter: who has the token may come from anywhere.
	require.Equal(t, 200, do(t, "GET", addr+"/api/v1/words/w", "", "Authorization: Bearer battery staple", "Host: glassbox.example").Status)
	require.Equal(t, 401, do(t, "GET", addr+"/api/v1/words/w?access_token=battery%20staple", "").Status, "only a WebSocket may show it in the query")
	require.Equal(t, 200, do(t, "GET", addr+"/livez", "").Status, "open to all")
}

func TestProbes(t *testing.T) {
	ready := false
	addr := serve(t, server.Config{Ready: func() (bool, []string) { return ready, []string{"n2"} }})
	require.Equal(t, 200, do(t, "GET", addr+"/livez", "").Status)
	p := do(t, "GET", addr+"/readyz", "").problem(t)
	require.Equal(t, errs.NotReady, p.Kind)
	require.Contains(t, p.Why, "n2")
	ready = true
	require.Equal(t, 200, do(t, "GET", addr+"/readyz", "").Status)
}

func TestDocuments(t *testing.T) {
	addr := serve(t, server.Config{Info: op.Info{Title: "T", Version: "1"}})
	for _, path := range []string{"/openapi.json", "/openrpc.json"} {
		a := do(t, "GET", addr+path, "")
		require.Equal(t, 200, a.Status)
		require.Contains(t, a.Body, "word.put")
	}
}

func TestJSONRPCOverPOST(t *testing.T) {
	addr := serve(t, server.Config{})
	for name, tc := range map[string]struct{ body, want string }{
		"one":          {`{"jsonrpc":"2.0","id":"x","method":"word.get","params":{"name":"w"}}`, `{"jsonrpc":"2.0","id":"x","result":{"name":"w","count":1,"tags":null,"loud":false}}`},
		"batch":        {`[{"jsonrpc":"2.0","id":1,"method":"word.delete","params":{"name":"w"}},{"jsonrpc":"2.0","method":"word.delete","params":{"name":"w"}}]`, `[{"jsonrpc":"2.0","id":1,"result":null}]`},
		"notification": {`{"jsonrpc":"2.0","method":"word.get","params":{"name":"w"}}`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			a := do(t, "POST", addr+"/rpc", tc.body)
			if tc.want == "" {
				require.Equal(t, 204, a.Status)
				require.Empty(t, a.Body)
				return
			}
			require.Equal(t, 200, a.Status)
			require.JSONEq(t, tc.want, a.Body)
		})
	}
	// An error carries the same problem as over REST.
	a := do(t, "POST", addr+"/rpc", `{"jsonrpc":"2.0","id":1,"method":"word.get","params":{"name":"w","count":99}}`)
	var got struct {
		Error struct {
			Code int          `json:"code"`
			Data errs.Problem `json:"data"`
		} `json:"error"`
	}
	require.NoError(t, json.Unmarshal([]byte(a.Body), &got))
	require.Equal(t, -32602, got.Error.Code)
	require.Equal(t, do(t, "GET", addr+"/api/v1/words/w?count=99", "").problem(t), got.Error.Data)
}
