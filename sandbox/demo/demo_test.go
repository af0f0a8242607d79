package demo_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox/demo"
)

// lines makes the input of a program.
func lines(all ...string) *strings.Reader { return strings.NewReader(strings.Join(all, "\n") + "\n") }

func TestCounter(t *testing.T) {
	var out, log bytes.Buffer
	require.NoError(t, demo.Counter(lines(
		`{"jsonrpc":"2.0","id":1,"method":"get"}`,
		`{"jsonrpc":"2.0","id":"two","method":"increment"}`,
		``,
		`{"jsonrpc":"2.0","method":"increment","params":{"by":40}}`,
		`{"jsonrpc":"2.0","id":3,"method":"get"}`,
		`{"jsonrpc":"2.0","id":4,"method":"increment","params":{"by":"x"}}`,
		`{"jsonrpc":"2.0","id":5,"method":"increment","params":{"buy":1}}`,
		`{"jsonrpc":"2.0","id":6,"method":"decrement"}`,
		`{"id":7}`,
		`hello`,
	), &out, &log))
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []string{
		`{"jsonrpc":"2.0","id":1,"result":0}`,
		`{"jsonrpc":"2.0","id":"two","result":1}`,
		`{"jsonrpc":"2.0","id":3,"result":41}`,
		`{"jsonrpc":"2.0","id":4,"error":{"code":-32602`,
		`{"jsonrpc":"2.0","id":5,"error":{"code":-32602`,
		`{"jsonrpc":"2.0","id":6,"error":{"code":-32601,"message":"no method decrement"}}`,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32600`,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700`,
	}
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, strings.HasPrefix(got[i], want[i]), got[i])
	}
	require.Equal(t, "count is 0\ncount is 1\ncount is 41\n", log.String())
}

func TestCrash(t *testing.T) {
	var out, log bytes.Buffer
	require.ErrorIs(t, demo.Counter(lines(`{"jsonrpc":"2.0","id":1,"method":"crash"}`), &out, &log), demo.ErrCrash)
	require.Empty(t, out.String())
}

func TestPrinter(t *testing.T) {
	var out, log bytes.Buffer
	require.NoError(t, demo.Printer(lines(
		`{"jsonrpc":"2.0","id":1,"method":"print","params":{"text":"hello"}}`,
		`{"jsonrpc":"2.0","id":2,"method":"print"}`,
	), &out, &log))
	require.Contains(t, out.String(), `{"jsonrpc":"2.0","id":1,"result":1}`)
	require.Contains(t, out.String(), `"code":-32602`)
	require.Equal(t, "ready to print\nhello\n", log.String())
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestEndsWithItsOutput(t *testing.T) {
	var log bytes.Buffer
	require.Error(t, demo.Counter(lines(`{"jsonrpc":"2.0","id":1,"method":"get"}`), broken{}, &log))
}

func TestTheSpecIsValid(t *testing.T) { require.NoError(t, demo.Spec("/bin/glassbox").Validate()) }
