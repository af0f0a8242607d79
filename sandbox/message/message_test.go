package message_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox/message"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// talk is a conversation with a program, and what it said unasked.
type talk struct {
	*message.Conn
	cmd   *exec.Cmd
	ended chan struct{}
	mu    sync.Mutex
	notes []string
}

func begin(t testing.TB) *talk {
	t.Helper()
	c := &talk{ended: make(chan struct{})}
	c.Conn = message.New(message.Config{FirstID: 1, Note: func(kind message.Kind, text string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.notes = append(c.notes, string(kind)+": "+text)
	}})
	c.cmd = exec.Command(os.Args[0], "program")
	c.cmd.Env = []string{"GORACE=atexit_sleep_ms=0"}
	stdin, ours, err := os.Pipe()
	require.NoError(t, err)
	out, stdout, err := os.Pipe()
	require.NoError(t, err)
	c.cmd.Stdin, c.cmd.Stdout = stdin, stdout
	require.NoError(t, c.cmd.Start())
	stdin.Close()
	stdout.Close()
	go func() {
		defer close(c.ended)
		defer out.Close()
		c.Read(out)
	}()
	c.Open(ours)
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		<-c.ended
	})
	return c
}

// call calls with a deadline that is not to be reached.
func (c *talk) call(t *testing.T, method, params string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	result, err := c.Call(ctx, method, json.RawMessage(params))
	return string(result), err
}

func (c *talk) noted(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, note := range c.notes {
		if strings.Contains(note, text) {
			return true
		}
	}
	return false
}

func (c *talk) eventually(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return c.noted(text) }, patience, time.Millisecond, text)
}

func requireKind(t *testing.T, kind errs.Kind, definite bool, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, kind, errs.KindOf(err), err)
	require.Equal(t, definite, errs.From(err).Definite())
}

func TestCallsAndTheirAnswers(t *testing.T) {
	c := begin(t)
	got, err := c.call(t, "echo", "{\n  \"a\": \"b\\nc\"\n}")
	require.NoError(t, err)
	require.JSONEq(t, `{"a":"b\nc"}`, got)

	_, err = c.call(t, "fail", "")
	var fault *message.Error
	require.ErrorAs(t, err, &fault)
	require.Equal(t, message.Error{Code: -32050, Message: "no", Data: json.RawMessage(`{"a":[1]}`)}, *fault)

	big := `"` + strings.Repeat("x", 900_000) + `"`
	got, err = c.call(t, "echo", big)
	require.NoError(t, err)
	require.Equal(t, big, got)

	_, err = c.call(t, "echo", `"`+strings.Repeat("x", message.MaxLine)+`"`)
	requireKind(t, errs.TooLarge, true, err)
}

func TestAnswersAreMatchedInAnyOrder(t *testing.T) {
	c := begin(t)
	first := make(chan string, 1)
	go func() {
		result, err := c.call(t, "hold", "")
		require.NoError(t, err)
		first <- result
	}()
	require.Eventually(t, func() bool { return c.Counts().InFlight == 1 }, patience, time.Millisecond)
	var many sync.WaitGroup
	for range 50 {
		many.Go(func() {
			got, err := c.call(t, "echo", `[1]`)
			require.NoError(t, err)
			require.Equal(t, "[1]", got)
		})
	}
	many.Wait()
	got, err := c.call(t, "release", "")
	require.NoError(t, err)
	require.Equal(t, `"released"`, got)
	require.Equal(t, `"held"`, <-first)
}

func TestALateAnswerIsDroppedAndCounted(t *testing.T) {
	c := begin(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Call(ctx, "hold", nil)
	requireKind(t, errs.Timeout, false, err)
	_, err = c.call(t, "release", "")
	require.NoError(t, err)
	require.Equal(t, message.Counts{Calls: 2, Late: 1}, c.Counts())
}

func TestWhatTheProgramSaysUnasked(t *testing.T) {
	c := begin(t)
	_, err := c.call(t, "talk", "")
	require.NoError(t, err)
	require.Equal(t, []string{
		`notification: {"jsonrpc":"2.0","method":"progress","params":{"n":1}}`,
		`noise: Traceback: all is well`,
		`stray: {"jsonrpc":"2.0","id":999999,"result":1}`,
	}, c.notes)
	require.EqualValues(t, 1, c.Counts().Noise)

	got, err := c.call(t, "ask", "")
	require.NoError(t, err)
	require.Equal(t, "-32601", got, "its requests are refused")
	c.eventually(t, `request: {"jsonrpc":"2.0","id":"mine"`)
}

func TestNotificationsAndRawLines(t *testing.T) {
	c := begin(t)
	require.NoError(t, c.Notify(t.Context(), "noted", json.RawMessage(`[7]`)))
	c.eventually(t, `notification: {"jsonrpc":"2.0","method":"noted","params":[7]}`)
	require.NoError(t, c.Send(t.Context(), "hello"))
	c.eventually(t, "noise: not understood: hello")
	requireKind(t, errs.BadParameter, true, c.Send(t.Context(), "two\nlines"))
	requireKind(t, errs.TooLarge, true, c.Send(t.Context(), strings.Repeat("x", message.MaxLine+1)))
}

func TestAnswersThatCannotBePassedOn(t *testing.T) {
	c := begin(t)
	_, err := c.call(t, "odd", "")
	requireKind(t, errs.Internal, false, err)
	require.ErrorContains(t, err, "just text")
	_, err = c.call(t, "deep", "")
	requireKind(t, errs.Internal, false, err)
	_, err = c.call(t, "echo", "[]")
	require.NoError(t, err, "the conversation goes on")
}

func TestTheProgramEnds(t *testing.T) {
	c := begin(t)
	_, err := c.call(t, "exit", "")
	requireKind(t, errs.ConnectionLost, false, err)
	<-c.ended
	_, err = c.call(t, "echo", "[]")
	requireKind(t, errs.NodeUnavailable, true, err)
	requireKind(t, errs.NodeUnavailable, true, c.Send(t.Context(), "x"))
}

func TestALineThatIsTooLongEndsTheConversation(t *testing.T) {
	c := begin(t)
	_, err := c.call(t, "long", "")
	requireKind(t, errs.ConnectionLost, false, err)
	require.ErrorContains(t, err, "longer than 1 MiB")
	<-c.ended
	require.True(t, c.noted("end: no more messages: it printed a line longer than 1 MiB"))
	_, err = c.call(t, "echo", "[]")
	requireKind(t, errs.NodeUnavailable, true, err)
	require.ErrorContains(t, err, "longer than 1 MiB")
}

// A program that does not read costs nobody more than his own time, and what is
// told of each message is true.
func TestAProgramThatDoesNotRead(t *testing.T) {
	c := begin(t)
	_, err := c.call(t, "deaf", "")
	require.NoError(t, err)
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	require.NoError(t, c.Send(soon(), strings.Repeat("x", 10)), "it fits the pipe")
	// Part of it does, and the rest goes on being written.
	requireKind(t, errs.Timeout, false, c.Send(soon(), strings.Repeat("y", 500_000)))
	requireKind(t, errs.RateLimited, true, c.Send(soon(), "z"))
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error, message.MaxQueue)
	for range message.MaxQueue {
		go func() { waits <- c.Send(ctx, "z") }()
	}
	require.Eventually(t, func() bool {
		return strings.Contains(c.Send(soon(), "z").Error(), "256 messages wait")
	}, patience, time.Millisecond, "no more wait than the queue has room for")
	cancel()
	for range message.MaxQueue {
		requireKind(t, errs.RateLimited, true, <-waits)
	}
}

func TestNoMoreCallsWaitThanAreAllowed(t *testing.T) {
	c := begin(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waits := make(chan error, message.MaxInFlight)
	for range message.MaxInFlight {
		go func() {
			_, err := c.Call(ctx, "hold", nil)
			waits <- err
		}()
	}
	require.Eventually(t, func() bool { return c.Counts().InFlight == message.MaxInFlight }, patience, time.Millisecond)
	_, err := c.call(t, "echo", "[]")
	requireKind(t, errs.RateLimited, true, err)
	cancel()
	for range message.MaxInFlight {
		require.Error(t, <-waits)
	}
	got, err := c.call(t, "echo", "[]")
	require.NoError(t, err)
	require.Equal(t, "[]", got)
}

// What waits to be written when the program ends was certainly not done.
func TestWhatWaitsAtTheEndIsDefinite(t *testing.T) {
	c := begin(t)
	_, err := c.call(t, "deaf", "")
	require.NoError(t, err)
	long := make(chan error, 1)
	go func() { long <- c.Send(t.Context(), strings.Repeat("y", 500_000)) }()
	waits := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), "echo", nil)
		waits <- err
	}()
	require.Eventually(t, func() bool { return c.Counts().InFlight == 1 }, patience, time.Millisecond)
	require.NoError(t, c.cmd.Process.Kill())
	requireDefiniteEnd := func(err error) {
		kind := errs.KindOf(err)
		require.Contains(t, []errs.Kind{errs.NodeUnavailable, errs.ConnectionLost}, kind)
	}
	requireDefiniteEnd(<-long)
	requireDefiniteEnd(<-waits)
}

func TestOpenAfterTheEnd(t *testing.T) {
	c := message.New(message.Config{FirstID: 1})
	c.Read(strings.NewReader("noise\n"))
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	c.Open(w)
	_, err = w.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrClosed)
}

// BenchmarkCall is a call and its answer through the pipes of a real program.
func BenchmarkCall(b *testing.B) {
	c := begin(b)
	for b.Loop() {
		_, err := c.Call(b.Context(), "echo", json.RawMessage(`[1]`))
		require.NoError(b, err)
	}
}

// BenchmarkCalls is the same for many callers at once.
func BenchmarkCalls(b *testing.B) {
	c := begin(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := c.Call(b.Context(), "echo", json.RawMessage(`[1]`))
			require.NoError(b, err)
		}
	})
}
