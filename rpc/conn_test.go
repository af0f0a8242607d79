package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// pair connects two handlers in memory.
func pair(t *testing.T, a, b Handler, cfg Config) (near, far *Conn) {
	t.Helper()
	one, two := Pipe()
	near, far = Start(t.Context(), one, a, cfg), Start(t.Context(), two, b, cfg)
	t.Cleanup(func() {
		near.Close(nil)
		require.Error(t, near.Wait())
		require.Error(t, far.Wait())
	})
	return near, far
}

var nobody = HandlerFunc(func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
	return nil, errs.New(errs.MethodNotFound, "no method %q", method)
})

var echo = HandlerFunc(func(_ context.Context, _ *Conn, _ string, params json.RawMessage) (any, error) { return params, nil })

// TestBothSidesCall at once, and each gets its own answers.
func TestBothSidesCall(t *testing.T) {
	near, far := pair(t, echo, echo, Config{})
	var wg sync.WaitGroup
	for _, c := range []*Conn{near, far} {
		for i := range 50 {
			wg.Go(func() {
				var got []int
				if err := c.Call(t.Context(), "echo", []int{i}, &got); err != nil || len(got) != 1 || got[0] != i {
					t.Errorf("%d: %v %v", i, got, err)
				}
			})
		}
	}
	wg.Wait()
	require.EqualValues(t, 50, near.Stats().Sent)
	require.EqualValues(t, 50, near.Stats().Received)
	require.Zero(t, near.Stats().Pending)
	require.Equal(t, "b", near.RemoteAddr().String())
	require.WithinDuration(t, time.Now(), near.LastRead(), time.Minute)

	var wrong chan int
	require.Equal(t, errs.Internal, errs.KindOf(near.Call(t.Context(), "echo", []int{1}, &wrong)))
	require.Equal(t, errs.BadParameter, errs.KindOf(near.Call(t.Context(), "echo", make(chan int), nil)))
	require.Equal(t, errs.BadParameter, errs.KindOf(near.Notify(t.Context(), "echo", make(chan int))))
	require.NoError(t, near.Call(t.Context(), "echo", nil, nil))
}

// TestErrorsKeepTheirKind on the way.
func TestErrorsKeepTheirKind(t *testing.T) {
	refuse := errs.BadParam("limit", "too large").WithNode("n2").WithWhy("because")
	near, _ := pair(t, nobody, HandlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) { return nil, refuse }), Config{})
	var got *errs.Error
	require.ErrorAs(t, near.Call(t.Context(), "x", nil, nil), &got)
	require.True(t, got.Remote, "the peer said so")
	got.Remote = false
	require.Equal(t, refuse, got)
	require.Equal(t, errs.NotFound, decodeError([]byte(`{"code":-32004,"message":"of somebody else"}`)).Kind)
	require.Equal(t, errs.Internal, decodeError([]byte(`{"code":"x"}`)).Kind)
}

// TestInlineKeepsOrder: inline methods are handled in the order in which they
// came, also when the pool is busy.
func TestInlineKeepsOrder(t *testing.T) {
	block := make(chan struct{})
	var got []string
	near, _ := pair(t, nobody, HandlerFunc(func(_ context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
		if method == "slow" {
			<-block
			return nil, nil
		}
		got = append(got, string(params)) // no lock: it is one after the other
		return len(got), nil
	}), Config{Workers: 1, Inline: func(method string) bool { return method == "inline" }})
	var slow sync.WaitGroup
	for range 3 {
		slow.Go(func() { _ = near.Call(t.Context(), "slow", nil, nil) })
	}
	var want []string
	for i := range 100 {
		require.NoError(t, near.Notify(t.Context(), "inline", []int{i}))
		want = append(want, fmt.Sprintf("[%d]", i))
	}
	var n int
	require.NoError(t, near.Call(t.Context(), "inline", []int{100}, &n))
	require.Equal(t, 101, n)
	require.Equal(t, want, got[:100])
	close(block)
	slow.Wait()
}

// TestTooManyRequests are refused at once, definitely.
func TestTooManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		near, far := pair(t, nobody, HandlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) {
			<-block
			return nil, nil
		}), Config{Workers: 2, Backlog: 3, MaxPending: 8})
		var done sync.WaitGroup
		kinds := make(chan errs.Kind, 20)
		for range 8 {
			done.Go(func() { kinds <- errs.KindOf(near.Call(t.Context(), "x", nil, nil)) })
		}
		synctest.Wait()
		require.Equal(t, 2, far.Stats().Running)
		require.Equal(t, 5, near.Stats().Pending)
		for range 3 { // 2 at work, 3 waiting
			require.Equal(t, errs.RateLimited, <-kinds)
		}
		for range 3 {
			done.Go(func() { _ = near.Call(t.Context(), "x", nil, nil) })
		}
		synctest.Wait()
		close(block)
		done.Wait()
		require.Zero(t, near.Stats().Pending)
	})
}

// TestMaxPending: one's own calls are bounded too.
func TestMaxPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		near, _ := pair(t, nobody, HandlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) {
			<-block
			return nil, nil
		}), Config{MaxPending: 2})
		var done sync.WaitGroup
		for range 2 {
			done.Go(func() { _ = near.Call(t.Context(), "x", nil, nil) })
		}
		synctest.Wait()
		require.Equal(t, errs.RateLimited, errs.KindOf(near.Call(t.Context(), "x", nil, nil)))
		close(block)
		done.Wait()
	})
}

// TestAPanic is an error of kind internal, logged with its stack, and the
// connection lives on.
func TestAPanic(t *testing.T) {
	var log bytes.Buffer
	near, _ := pair(t, nobody, HandlerFunc(func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		if method == "panic" {
			panic("on purpose")
		}
		return method, nil
	}), Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	err := near.Call(t.Context(), "panic", nil, nil)
	require.Equal(t, errs.Internal, errs.KindOf(err))
	require.ErrorContains(t, err, "on purpose")
	require.NoError(t, near.Call(t.Context(), "x", nil, nil))
	require.Contains(t, log.String(), "conn_test.go")
}

// TestCancel: the peer's handler is told, and when it has answered nothing of
// the call is left.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan error, 1)
		near, far := pair(t, nobody, HandlerFunc(func(ctx context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
			if method == "quick" {
				return nil, nil
			}
			<-ctx.Done()
			told <- ctx.Err()
			return nil, ctx.Err()
		}), Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		err := near.Call(ctx, "slow", nil, nil)
		require.Equal(t, errs.Timeout, errs.KindOf(err))
		require.False(t, errs.From(err).Definite())
		require.Equal(t, time.Second, time.Since(begun))
		require.ErrorIs(t, <-told, context.Canceled)
		synctest.Wait()
		require.Zero(t, near.Stats().Pending)
		require.Zero(t, far.Stats().Running)
		require.Empty(t, far.pool.open)

		err = near.Call(ctx, "quick", nil, nil)
		require.Equal(t, errs.Timeout, errs.KindOf(err), "an ended context sends nothing")
		require.ErrorContains(t, err, "was not sent")
		require.NoError(t, near.Notify(t.Context(), cancelMethod, json.RawMessage(`{"id":99}`)), "nothing to cancel")
		require.NoError(t, near.Notify(t.Context(), cancelMethod, json.RawMessage(`[]`)))
		require.NoError(t, near.Call(t.Context(), "quick", nil, nil))
	})
}

// TestAPeerThatDoesNotRead never blocks a caller past its deadline, and is
// given up in the end.
func TestAPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := Pipe()
		conn := Start(t.Context(), one, nobody, Config{WriteTimeout: 2 * time.Second, QueueBytes: 1 << 20})
		payload := strings.Repeat("x", 200<<10)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var calls sync.WaitGroup
		for range 3 { // more than the network buffers
			calls.Go(func() {
				if kind := errs.KindOf(conn.Call(ctx, "x", []string{payload}, nil)); kind != errs.Timeout {
					t.Errorf("kind %s", kind)
				}
			})
		}
		calls.Wait()
		require.Equal(t, time.Second, time.Since(begun))
		err := conn.Wait()
		require.ErrorContains(t, err, "the peer has not read for 2s")
		require.LessOrEqual(t, time.Since(begun), 4*time.Second, "part of the first write was taken")
		require.Equal(t, errs.NodeUnavailable, errs.KindOf(conn.Call(t.Context(), "x", nil, nil)), "it was not sent")
		require.Equal(t, errs.NodeUnavailable, errs.KindOf(conn.Notify(t.Context(), "x", nil)))
		require.NoError(t, two.Close())
	})
}

// TestAMessageOverTheBound is told to the peer, and closes the connection
// without being read to its end.
func TestAMessageOverTheBound(t *testing.T) {
	l, err := TCP{}.Listen("127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	nc, err := TCP{}.Dial(t.Context(), l.Addr().String())
	require.NoError(t, err)
	accepted, err := l.Accept()
	require.NoError(t, err)
	conn := Start(t.Context(), accepted, nobody, Config{MaxMessage: 1 << 20})
	go func() { // 64 MiB, of which it reads what fits the bound
		_, _ = io.CopyN(nc, endless{}, 64<<20)
	}()
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err == nil { // a reset may overtake it
		require.Contains(t, line, "-32013")
	}
	reason := conn.Wait()
	require.ErrorContains(t, reason, "longer than the limit of 1048576 bytes")
	require.Equal(t, errs.TooLarge, errs.KindOf(reason))
	require.NoError(t, nc.Close())
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// TestWhatWouldNotFit is refused before it is sent, so that the connection lives
// on.
func TestWhatWouldNotFit(t *testing.T) {
	big := strings.Repeat("x", 10<<10)
	near, _ := pair(t, nobody, HandlerFunc(func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		if method == "big" {
			return big, nil
		}
		return nil, nil
	}), Config{MaxMessage: 8 << 10})
	for _, err := range []error{near.Call(t.Context(), "x", []string{big}, nil), near.Call(t.Context(), "big", nil, nil)} {
		require.Equal(t, errs.TooLarge, errs.KindOf(err))
	}
	require.NoError(t, near.Call(t.Context(), "x", nil, nil))
}

// TestGarbage is answered line by line, until it is too much.
func TestGarbage(t *testing.T) {
	one, two := Pipe()
	conn := Start(t.Context(), one, nobody, Config{})
	_, err := two.Write([]byte(strings.Repeat("garbage\n\n", maxGarbage+1)))
	require.NoError(t, err)
	require.ErrorContains(t, conn.Wait(), "9 messages in a row were no JSON")
	answers, err := io.ReadAll(two)
	require.NoError(t, err)
	require.Equal(t, maxGarbage+1, bytes.Count(answers, []byte("-32700")))
	require.NoError(t, two.Close())
}

// TestWhatCannotBeRead is answered at once, if it begins as our own messages do: a
// request that nests too deep for the peer, and an answer that does for us.
func TestWhatCannotBeRead(t *testing.T) {
	deep := json.RawMessage(strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth))
	near, _ := pair(t, nobody, HandlerFunc(func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		if method == "deep" {
			return deep, nil
		}
		return nil, nil
	}), Config{})
	err := near.Call(t.Context(), "x", deep, nil)
	require.Equal(t, errs.ParseError, errs.KindOf(err))
	require.ErrorContains(t, err, "nested deeper than 10000 levels")
	require.True(t, errs.From(err).Definite())
	err = near.Call(t.Context(), "deep", nil, nil)
	require.Equal(t, errs.ParseError, errs.KindOf(err))
	require.ErrorContains(t, err, "the answer cannot be read")
	require.False(t, errs.From(err).Definite(), "it has been done")
	require.NoError(t, near.Call(t.Context(), "x", nil, nil))
}

// TestReasons: the end of a connection says why, to who waits for it and to
// calls under way.
func TestReasons(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(conn *Conn, peer net.Conn, cancel context.CancelFunc)
		want string
	}{
		"by the peer": {func(_ *Conn, peer net.Conn, _ context.CancelFunc) { _ = peer.Close() }, "the peer closed the connection"},
		"here":        {func(c *Conn, _ net.Conn, _ context.CancelFunc) { c.Close(nil) }, "closed here"},
		"here, with reason": {func(c *Conn, _ net.Conn, _ context.CancelFunc) {
			c.Close(errors.New("no more"))
			c.Close(errors.New("late"))
		}, "no more"},
		"by its context": {func(_ *Conn, _ net.Conn, cancel context.CancelFunc) { cancel() }, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				one, two := Pipe()
				conn := Start(ctx, one, nobody, Config{})
				failed := make(chan error)
				go func() { failed <- conn.Call(context.WithoutCancel(ctx), "x", nil, nil) }()
				synctest.Wait()
				tc.end(conn, two, cancel)
				err := <-failed
				require.Equal(t, errs.ConnectionLost, errs.KindOf(err), "it was sent, so it may have been done: %v", err)
				require.ErrorContains(t, conn.Wait(), tc.want)
				<-conn.Done()
				require.NoError(t, two.Close())
			})
		})
	}
}

// TestWhatIsQueuedIsSent before a connection closes.
func TestWhatIsQueuedIsSent(t *testing.T) {
	one, two := Pipe()
	conn := Start(t.Context(), one, nobody, Config{})
	for range 10 {
		require.NoError(t, conn.Notify(t.Context(), "x", json.RawMessage("{\n\"a\": 1}")))
	}
	conn.Close(nil)
	require.Error(t, conn.Wait())
	all, err := io.ReadAll(two)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat(`{"jsonrpc":"2.0","method":"x","params":{"a":1}}`+"\n", 10), string(all))
	require.NoError(t, two.Close())
}

// TestTheLastLineMayLackItsEnd.
func TestTheLastLineMayLackItsEnd(t *testing.T) {
	one, two := Pipe()
	seen := make(chan string, 1)
	conn := Start(t.Context(), one, HandlerFunc(func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		seen <- method
		return nil, nil
	}), Config{Inline: func(string) bool { return true }})
	_, err := two.Write([]byte(`{"jsonrpc":"2.0","method":"last"}`))
	require.NoError(t, err)
	require.NoError(t, two.(*memoryConn).CloseWrite())
	require.Equal(t, "last", <-seen)
	require.Error(t, conn.Wait())
	require.NoError(t, two.Close())
}

// script is a MessageConn whose messages are written down.
type script struct {
	in     chan []byte
	out    chan string
	closed chan struct{}
	once   sync.Once
	fail   error
}

func newScript() *script {
	return &script{in: make(chan []byte, 9), out: make(chan string, 9), closed: make(chan struct{})}
}

func (s *script) ReadMessage() ([]byte, error) {
	select {
	case m := <-s.in:
		return m, nil
	case <-s.closed:
		return nil, io.EOF
	}
}

func (s *script) WriteMessage(m []byte, _ time.Time) error {
	if s.fail != nil {
		return s.fail
	}
	s.out <- string(m)
	return nil
}

func (s *script) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// TestMessages: over what carries whole messages, nothing is framed.
func TestMessages(t *testing.T) {
	s := newScript()
	conn := StartMessages(t.Context(), s, echo, Config{MaxMessage: 1100})
	s.in <- []byte("{\n\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":[1],\"id\":1}")
	require.JSONEq(t, `{"jsonrpc":"2.0","result":[1],"id":1}`, <-s.out)
	require.Nil(t, conn.RemoteAddr())
	s.in <- bytes.Repeat([]byte("x"), 1101)
	require.ErrorContains(t, conn.Wait(), "longer than the limit of 1100 bytes")

	s = newScript()
	s.fail = io.ErrClosedPipe
	conn = StartMessages(t.Context(), s, echo, Config{})
	require.NoError(t, conn.Notify(t.Context(), "x", nil))
	require.ErrorContains(t, conn.Wait(), "cannot be written to")
}

// TestALargeMessageLeavesNoBuffer: what an idle connection holds is bounded.
func TestALargeMessageLeavesNoBuffer(t *testing.T) {
	near, far := pair(t, nobody, echo, Config{})
	payload := []string{strings.Repeat("x", 1<<20)}
	var got []string
	require.NoError(t, near.Call(t.Context(), "x", payload, &got))
	require.Equal(t, payload, got)
	require.NoError(t, near.Call(t.Context(), "x", nil, nil))
	for _, c := range []*Conn{near, far} {
		c.stream.out.mu.Lock()
		require.LessOrEqual(t, cap(c.stream.out.buf)+cap(c.stream.out.spare), 2*keepBuffer)
		c.stream.out.mu.Unlock()
	}
}
