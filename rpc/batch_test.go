package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// TestABatchOfMillions costs little more than itself, and is answered with one
// error.
func TestABatchOfMillions(t *testing.T) {
	body := []byte("[1" + strings.Repeat(",1", 1_999_999) + "]")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answer := Answer(t.Context(), body, 4<<20, standard, slog.New(slog.DiscardHandler))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
	require.Equal(t, plain(t, failed(`null`, -32013)), plain(t, string(answer)))
	require.Contains(t, string(answer), "the batch has 2000000 messages, at most 1000")
}

// TestDepthIsTold apart from other faults of the syntax.
func TestDepthIsTold(t *testing.T) {
	require.Nil(t, CheckJSON([]byte(strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000))))
	for sent, want := range map[string]string{
		strings.Repeat(`{"a\"[":[`, 50_000):            "deeper than 10000 levels",
		`"` + strings.Repeat("[", 20_000):              "not valid",
		strings.Repeat("[]", 20_000):                   "not valid",
		strings.Repeat("]", 5) + "\\":                  "not valid",
		"\xef\xbb\xbf{}":                               "not valid",
		"[\"\xed\xa0\x80\"]":                           "not UTF-8",
		"{\"jsonrpc\":\"2.0\",\"\xff\":1,\"method\":1": "not UTF-8",
	} {
		require.ErrorContains(t, CheckJSON([]byte(sent)), want, "%.20q", sent)
	}
}

// big answers with 10 kB and counts how often it was asked.
func big(asked *atomic.Int64) HandleFunc {
	return func(_ context.Context, method string, _ json.RawMessage) (any, error) {
		asked.Add(1)
		if method == "small" {
			return nil, nil
		}
		return strings.Repeat("x", 10_000), nil
	}
}

func batchOf(n int, method string) string {
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q}`, i, method))
	}
	return "[" + strings.Join(items, ",") + "]"
}

// checkBounded: all are answered in order, the first with results, those that
// had no room with an error that says whether it was done.
func checkBounded(t *testing.T, answer []byte, n, limit int, asked int64) {
	t.Helper()
	require.LessOrEqual(t, len(answer), limit)
	require.Greater(t, len(answer), limit/2)
	var all []struct {
		ID     int
		Result *string
		Error  *struct {
			Code int
			Data errs.Problem
		}
	}
	require.NoError(t, json.Unmarshal(answer, &all))
	require.Len(t, all, n)
	var notDone int64
	for i, one := range all {
		require.Equal(t, i, one.ID)
		if one.Error != nil {
			require.Equal(t, errs.TooLarge, one.Error.Data.Kind)
			if one.Error.Data.Definite {
				notDone++
			}
		}
	}
	require.Equal(t, int64(n)-asked, notDone, "what is said to be not done was not")
	require.Positive(t, notDone)
}

// TestABatchsAnswersAreBounded together, posted or over a connection.
func TestABatchsAnswersAreBounded(t *testing.T) {
	const n, limit = 1000, 1 << 20
	var asked atomic.Int64
	answer := Answer(t.Context(), []byte(batchOf(n, "big")), limit, big(&asked), slog.New(slog.DiscardHandler))
	checkBounded(t, answer, n, limit, asked.Load())

	asked.Store(0)
	near, far := Pipe()
	handle := big(&asked)
	conn := Start(t.Context(), far, HandlerFunc(func(ctx context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
		return handle(ctx, method, params)
	}), Config{MaxMessage: limit})
	require.NoError(t, near.SetDeadline(time.Now().Add(time.Minute)))
	_, err := near.Write([]byte(batchOf(n, "big") + "\n"))
	require.NoError(t, err)
	answer, err = bufio.NewReader(near).ReadBytes('\n')
	require.NoError(t, err)
	checkBounded(t, bytes.TrimSpace(answer), n, limit, asked.Load())
	conn.Close(nil)
	require.Error(t, conn.Wait())
	require.NoError(t, near.Close())

	// What is short is never replaced by something longer, however low the limit.
	answer = Answer(t.Context(), []byte(batchOf(100, "small")), 1000, big(&asked), slog.New(slog.DiscardHandler))
	require.NotContains(t, string(answer), "error")
}

// TestAnErrorFitsAMessage, whatever it quotes.
func TestAnErrorFitsAMessage(t *testing.T) {
	near, _ := pair(t, nobody, HandlerFunc(func(_ context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
		return nil, errs.BadParam("x", "%s is wrong", params).WithWhy("%s", params)
	}), Config{MaxMessage: 16 << 10})
	err := near.Call(t.Context(), "x", []string{kib(10)}, nil)
	require.Equal(t, errs.BadParameter, errs.KindOf(err))
	require.ErrorContains(t, err, `parameter "x": ["xxx`)
	require.Less(t, len(err.Error()), 2<<10)
	require.ErrorContains(t, near.Notify(t.Context(), "x", []string{kib(20)}), "at most")
}

// TestTheBytesOfRequestsAreBounded: the backlog is not only so many requests.
func TestTheBytesOfRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		near, far := pair(t, nobody, HandlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) {
			<-block
			return nil, nil
		}), Config{RequestBytes: 250 << 10, Workers: 1})
		kinds := make(chan errs.Kind, 5)
		for range 5 {
			go func() { kinds <- errs.KindOf(near.Call(t.Context(), "x", []string{kib(100)}, nil)) }()
		}
		for range 3 {
			require.Equal(t, errs.RateLimited, <-kinds)
		}
		close(block)
		for range 2 {
			require.Empty(t, <-kinds)
		}
		synctest.Wait()
		require.Zero(t, far.pool.bytes)
	})
}
