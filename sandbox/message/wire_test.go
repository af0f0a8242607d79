package message

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForms(t *testing.T) {
	for line, want := range map[string]form{
		`{"jsonrpc":"2.0","id":1,"result":null}`:                 answer,
		` {"jsonrpc":"2.0","id":1,"result":{},"error":null} `:    answer,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700}}`:    answer,
		`{"jsonrpc":"2.0","id":"a","method":"x"}`:                request,
		`{"jsonrpc":"2.0","method":"x","params":{"id":1}}`:       notification,
		`{"jsonrpc":"2.0","id":1}`:                               noise,
		`{"jsonrpc":"2.0","method":1}`:                           noise,
		`{"jsonrpc":"2.0","id":1,"error":null}`:                  noise,
		`{"id":1,"result":1}`:                                    noise,
		`{"jsonrpc":"1.0","id":1,"result":1}`:                    noise,
		`[{"jsonrpc":"2.0","id":1,"result":1}]`:                  noise,
		`{"jsonrpc":"2.0","id":1,"result":1} {}`:                 noise,
		`{"jsonrpc":"2.0","id":1,"result":`:                      noise,
		`listening on :80`:                                       noise,
		`{"level":"info","msg":"a program that logs as JSON"}`:   noise,
		`{"JSONRPC":"2.0","ID":1,"RESULT":1}`:                    noise,
		`{"jsonrpc":"2.0","id":1,"method":"x","result":{"y":1}}`: request,
	} {
		require.Equal(t, want, parse([]byte(line)).form, line)
	}
}

// FuzzTake feeds lines to a conversation in which a call waits: it must neither
// panic nor lose count, and what it takes for an answer must be JSON that can be
// passed on.
func FuzzTake(f *testing.F) {
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"a":[1,"\u00e9"]}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":[]}}`,
		`{"jsonrpc":"2.0","id":"x","method":"ping"}`, `{"jsonrpc":"2.0","method":"n"}`, `[]`, `{}`, "noise\r\n\n{\"", `{"jsonrpc":"2.0","id":1,"error":7}`,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		notes := 0
		c := New(Config{FirstID: 1, Note: func(Kind, string) { notes++ }})
		id, waits, err := c.begin()
		require.NoError(t, err)
		c.Read(strings.NewReader(text))
		select {
		case r := <-waits:
			require.Zero(t, c.Counts().InFlight)
			if r.err == nil {
				require.True(t, json.Valid(r.result))
			}
		default:
			require.Equal(t, 1, c.Counts().InFlight)
		}
		require.LessOrEqual(t, notes, strings.Count(text, "\n")+2)
		require.EqualValues(t, 1, id)
		for len(c.queue) > 0 {
			require.True(t, json.Valid((<-c.queue).line), "what is answered to a request is JSON")
		}
	})
}

// FuzzEncode writes messages that must come out as one line and be read back.
func FuzzEncode(f *testing.F) {
	f.Add("method", `{"a": 1}`)
	f.Add("line\nbreak\xff", "[\n1\n]")
	f.Fuzz(func(t *testing.T, method, params string) {
		raw, err := encode(7, method, json.RawMessage(params))
		if err != nil {
			require.True(t, !json.Valid([]byte(params)) || len(params)+len(method) > MaxLine/8)
			return
		}
		require.Equal(t, len(raw)-1, strings.IndexByte(string(raw), '\n'), "one line")
		m := parse(raw)
		require.Equal(t, request, m.form)
		id, ours := m.number()
		require.True(t, ours)
		require.EqualValues(t, 7, id)
	})
}

// A message whose context has ended before the writer came to it is not written.
func TestWhatWasGivenUpIsNotWritten(t *testing.T) {
	c := New(Config{FirstID: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, c.Send(ctx, "x"))
	require.True(t, (<-c.queue).taken.Load())
}
