package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// standard answers the methods of the examples in section 7 of the
// specification (https://www.jsonrpc.org/specification).
func standard(_ context.Context, method string, params json.RawMessage) (any, error) {
	switch method {
	case "subtract":
		var list []int
		var named struct{ Minuend, Subtrahend int }
		if json.Unmarshal(params, &list) == nil && len(list) == 2 {
			return list[0] - list[1], nil
		}
		err := json.Unmarshal(params, &named)
		return named.Minuend - named.Subtrahend, err
	case "sum":
		total := 0
		var list []int
		err := json.Unmarshal(params, &list)
		for _, n := range list {
			total += n
		}
		return total, err
	case "get_data":
		return []any{"hello", 5}, nil
	case "update", "notify_hello", "notify_sum":
		return nil, nil
	case "null":
		return nil, nil
	case "unwritable":
		return make(chan int), nil
	case "panic":
		panic("on purpose")
	case "bare":
		return nil, errors.New("bare")
	case "lines":
		return json.RawMessage("{\n \"a\": 1\n}"), nil
	default:
		return nil, errs.New(errs.MethodNotFound, "no method %q", method)
	}
}

// failed is the answer with an error of a kind, without its text.
func failed(id string, code int) string {
	raw, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(id), "error": map[string]any{"code": code}})
	return string(raw)
}

// conversations are what is sent and what must come back, "" for nothing. The
// order within a batch's answer is free.
var conversations = []struct{ name, sent, want string }{
	// Section 7.
	{"positional", `{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}`, `{"jsonrpc": "2.0", "result": 19, "id": 1}`},
	{"positional, reversed", `{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}`, `{"jsonrpc": "2.0", "result": -19, "id": 2}`},
	{"named", `{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}`, `{"jsonrpc": "2.0", "result": 19, "id": 3}`},
	{"notification", `{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}`, ``},
	{"unknown notification", `{"jsonrpc": "2.0", "method": "foobar"}`, ``},
	{"unknown method", `{"jsonrpc": "2.0", "method": "foobar", "id": "1"}`, failed(`"1"`, -32601)},
	{"invalid JSON", `{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]`, failed(`null`, -32700)},
	{"invalid request", `{"jsonrpc": "2.0", "method": 1, "params": "bar"}`, failed(`null`, -32600)},
	{"batch, invalid JSON", `[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]`, failed(`null`, -32700)},
	{"empty batch", `[]`, failed(`null`, -32600)},
	{"batch of garbage", `[1,2,3]`, `[` + failed(`null`, -32600) + `,` + failed(`null`, -32600) + `,` + failed(`null`, -32600) + `]`},
	{"batch of one garbage", `[1]`, `[` + failed(`null`, -32600) + `]`},
	{
		"mixed batch",
		`[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},` +
			`{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},{"foo": "boo"},` +
			`{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},{"jsonrpc": "2.0", "method": "get_data", "id": "9"}]`,
		`[{"jsonrpc": "2.0", "result": 7, "id": "1"},{"jsonrpc": "2.0", "result": 19, "id": "2"},` + failed(`null`, -32600) + `,` +
			failed(`"5"`, -32601) + `,{"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}]`,
	},
	{"batch of notifications", `[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]`, ``},

	// Odd, but to be answered.
	{"id null", `{"jsonrpc":"2.0","method":"null","id":null}`, `{"jsonrpc":"2.0","result":null,"id":null}`},
	{"id a fraction", `{"jsonrpc":"2.0","method":"null","id":1.5}`, `{"jsonrpc":"2.0","result":null,"id":1.5}`},
	{"id negative", `{"jsonrpc":"2.0","method":"null","id":-0}`, `{"jsonrpc":"2.0","result":null,"id":-0}`},
	{"id huge", `{"jsonrpc":"2.0","method":"null","id":123456789012345678901234567890}`, `{"jsonrpc":"2.0","result":null,"id":123456789012345678901234567890}`},
	{"id an empty string", `{"jsonrpc":"2.0","method":"null","id":""}`, `{"jsonrpc":"2.0","result":null,"id":""}`},
	{"id escaped", `{"jsonrpc":"2.0","method":"null","id":"\u00e9\n"}`, `{"jsonrpc":"2.0","result":null,"id":"\u00e9\n"}`},
	{"id an object", `{"jsonrpc":"2.0","method":"null","id":{}}`, failed(`null`, -32600)},
	{"id true", `{"jsonrpc":"2.0","method":"null","id":true}`, failed(`null`, -32600)},
	{"id twice", `{"jsonrpc":"2.0","method":"null","id":1,"id":2}`, failed(`2`, -32600)},
	{"no version", `{"method":"null","id":1}`, failed(`1`, -32600)},
	{"version 1.0", `{"jsonrpc":"1.0","method":"null","id":1}`, failed(`1`, -32600)},
	{"version a number", `{"jsonrpc":2.0,"method":"null","id":1}`, failed(`1`, -32600)},
	{"method empty", `{"jsonrpc":"2.0","method":"","id":1}`, failed(`1`, -32600)},
	{"method null", `{"jsonrpc":"2.0","method":null,"id":1}`, failed(`1`, -32600)},
	{"members escaped", `{"jsonrpc":"2\u002e0","m\u0065thod":"null","\u0069d":1}`, `{"jsonrpc":"2.0","result":null,"id":1}`},
	{"id twice, once escaped", `{"jsonrpc":"2.0","method":"null","id":1,"\u0069d":2}`, failed(`2`, -32600)},
	{"odd member names", `{"jsonrpc":"2.0","method":"null","id":1,"\\":1,"a\"b":2,"\u0000":3}`, `{"jsonrpc":"2.0","result":null,"id":1}`},
	{"method escaped", `{"jsonrpc":"2.0","method":"n\u0075ll","id":1}`, `{"jsonrpc":"2.0","result":null,"id":1}`},
	{"params a string", `{"jsonrpc":"2.0","method":"null","params":"x","id":1}`, failed(`1`, -32600)},
	{"params null", `{"jsonrpc":"2.0","method":"null","params":null,"id":1}`, failed(`1`, -32600)},
	{"unknown member", `{"jsonrpc":"2.0","method":"null","id":1,"x":[{"y":"}"}]}`, `{"jsonrpc":"2.0","result":null,"id":1}`},
	{"request and response", `{"jsonrpc":"2.0","method":"null","result":1,"id":1}`, failed(`1`, -32600)},
	{"neither", `{"jsonrpc":"2.0","id":1}`, failed(`1`, -32600)},
	{"a bare string", `"hello"`, failed(`null`, -32600)},
	{"a bare null", `null`, failed(`null`, -32600)},
	{"a batch in a batch", `[[{"jsonrpc":"2.0","method":"null","id":1}]]`, `[` + failed(`null`, -32600) + `]`},
	{"same id twice in a batch", `[{"jsonrpc":"2.0","method":"null","id":1},{"jsonrpc":"2.0","method":"sum","params":[1],"id":1}]`, `[{"jsonrpc":"2.0","result":null,"id":1},{"jsonrpc":"2.0","result":1,"id":1}]`},
	{"two texts", `{"jsonrpc":"2.0","method":"null","id":1} {}`, failed(`null`, -32700)},
	{"not UTF-8", "{\"jsonrpc\":\"2.0\",\"method\":\"\xff\",\"id\":1}", failed(`null`, -32700)},
	{"not UTF-8 in the params", "{\"jsonrpc\":\"2.0\",\"method\":\"null\",\"params\":[\"\xc3\"],\"id\":1}", failed(`null`, -32700)},
	{"too deep", `{"jsonrpc":"2.0","method":"null","params":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `,"id":1}`, failed(`null`, -32700)},
	{"cut off in the id", `{"jsonrpc":"2.0","id":1`, failed(`null`, -32700)},
	{"no JSON, no number", `{"jsonrpc":"2.0","id":"a","method":`, failed(`null`, -32700)},
	{"a batch of too many", `[1` + strings.Repeat(",1", maxBatch) + `]`, failed(`null`, -32013)},
	{"a response that is both", `{"jsonrpc":"2.0","result":1,"error":{},"id":1}`, failed(`1`, -32600)},
	{"a response without id", `{"jsonrpc":"2.0","result":1}`, failed(`null`, -32600)},
	{"a response with a bare error", `{"jsonrpc":"2.0","error":7,"id":1}`, failed(`1`, -32600)},

	// What handlers do.
	{"unwritable result", `{"jsonrpc":"2.0","method":"unwritable","id":1}`, failed(`1`, -32603)},
	{"panic", `{"jsonrpc":"2.0","method":"panic","id":1}`, failed(`1`, -32603)},
	{"a bare error", `{"jsonrpc":"2.0","method":"bare","id":1}`, failed(`1`, -32603)},
	{"a result of several lines", `{"jsonrpc":"2.0","method":"lines","id":1}`, `{"jsonrpc":"2.0","result":{"a":1},"id":1}`},
}

// plain leaves of an answer what the conversations compare, with batches in
// order.
func plain(t *testing.T, answer string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(answer))
	d.UseNumber()
	var value any
	require.NoError(t, d.Decode(&value), answer)
	strip := func(one any) string {
		m := one.(map[string]any)
		if e, ok := m["error"].(map[string]any); ok {
			m["error"] = e["code"]
		}
		raw, err := json.Marshal(m)
		require.NoError(t, err)
		return string(raw)
	}
	batch, ok := value.([]any)
	if !ok {
		return strip(value)
	}
	var all []string
	for _, one := range batch {
		all = append(all, strip(one))
	}
	slices.Sort(all)
	return all
}

func TestConversations(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, c := range conversations {
		t.Run("posted/"+c.name, func(t *testing.T) {
			answer := Answer(t.Context(), []byte(c.sent), 1<<20, standard, log)
			if c.want == "" {
				require.Nil(t, answer, "%s", answer)
				return
			}
			require.Equal(t, plain(t, c.want), plain(t, string(answer)))
		})
		t.Run("connected/"+c.name, func(t *testing.T) {
			near, far := Pipe()
			conn := Start(t.Context(), far, HandlerFunc(func(ctx context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
				return standard(ctx, method, params)
			}), Config{})
			require.NoError(t, near.SetDeadline(time.Now().Add(time.Minute)))
			// The second message shows that the connection lives on, and that nothing came before.
			_, err := near.Write([]byte(c.sent + "\n" + `{"jsonrpc":"2.0","method":"sum","params":[1,1],"id":"last"}` + "\n"))
			require.NoError(t, err)
			answers := bufio.NewReader(near)
			var got []string
			for want := 1 + min(1, len(c.want)); want > 0; want-- {
				line, err := answers.ReadString('\n')
				require.NoError(t, err)
				got = append(got, line)
			}
			last := slices.IndexFunc(got, func(line string) bool { return strings.Contains(line, `"last"`) })
			require.GreaterOrEqual(t, last, 0)
			require.Equal(t, plain(t, `{"jsonrpc":"2.0","result":2,"id":"last"}`), plain(t, got[last]))
			if c.want != "" {
				require.Equal(t, plain(t, c.want), plain(t, got[1-last]))
			}
			conn.Close(nil)
			require.Error(t, conn.Wait())
			require.NoError(t, near.Close())
		})
	}
}

// TestAResponseNobodyAskedFor is dropped on a connection, and told to who posts
// it.
func TestAResponseNobodyAskedFor(t *testing.T) {
	answer := Answer(t.Context(), []byte(`{"jsonrpc":"2.0","result":1,"id":7}`), 1<<20, standard, slog.New(slog.DiscardHandler))
	require.Contains(t, string(answer), "nobody to go to")
	near, far := Pipe()
	conn := Start(t.Context(), far, HandlerFunc(func(ctx context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
		return standard(ctx, method, params)
	}), Config{})
	_, err := near.Write([]byte(`[{"jsonrpc":"2.0","result":1,"id":7},{"jsonrpc":"2.0","error":{"code":1,"message":"x"},"id":null},{"jsonrpc":"2.0","method":"null","id":1}]` + "\n"))
	require.NoError(t, err)
	line, err := bufio.NewReader(near).ReadString('\n')
	require.NoError(t, err)
	require.JSONEq(t, `[{"jsonrpc":"2.0","result":null,"id":1}]`, line)
	conn.Close(nil)
	require.Error(t, conn.Wait())
	require.NoError(t, near.Close())
}

// FuzzAnswer: whatever is posted, there is an answer that is JSON, or none.
func FuzzAnswer(f *testing.F) {
	for _, c := range conversations {
		f.Add([]byte(c.sent))
	}
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, body []byte) {
		answer := Answer(t.Context(), body, 1<<20, standard, log)
		if answer != nil && !json.Valid(answer) {
			t.Fatalf("%q is answered with %q", body, answer)
		}
	})
}

// FuzzConn: whatever comes over a connection, it ends when the peer does, and
// all it said was lines of JSON.
func FuzzConn(f *testing.F) {
	for _, c := range conversations {
		f.Add([]byte(c.sent + "\n"))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		near, far := Pipe()
		conn := Start(t.Context(), far, HandlerFunc(func(ctx context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
			return standard(ctx, method, params)
		}), Config{MaxMessage: 1 << 12, Linger: time.Minute})
		said := make(chan string)
		go func() {
			scanner := bufio.NewScanner(near)
			scanner.Buffer(nil, 1<<20)
			for scanner.Scan() {
				if !json.Valid(scanner.Bytes()) {
					said <- scanner.Text()
				}
			}
			close(said)
		}()
		_, _ = near.Write(sent) // it may close before all is written
		_ = near.(*memoryConn).CloseWrite()
		_ = conn.Wait()
		if line, bad := <-said; bad {
			t.Fatalf("%q made it say %q", sent, line)
		}
		_ = near.Close()
	})
}
