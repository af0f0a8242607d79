package op

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

type countParams struct {
	After  int `json:"after"`
	WaitMS int `json:"wait_ms"`
	To     int `json:"to"`
}

type number struct {
	Seq int `json:"seq"`
}

type numbers struct {
	Items []number `json:"numbers"`
	Next  int      `json:"next"`
	End   bool     `json:"end,omitempty"`
}

// counting is a followed operation that yields 1, 2, 3 … up to its bound, two
// at a time, then waits for more that never comes.
func counting(t *testing.T) *Table {
	t.Helper()
	spec := Spec{Name: "number.list", Summary: "Count", Method: "GET", Path: "/numbers", Effect: Read, Runs: Anywhere}
	open := make(chan struct{})
	close(open)
	count := Define(spec, func(ctx context.Context, in countParams) (numbers, error) {
		page := numbers{Next: in.After, Items: []number{}}
		if in.To < 0 {
			return page, errs.New(errs.NotFound, "no such number")
		}
		for page.Next < in.To && len(page.Items) < 2 {
			page.Next++
			page.Items = append(page.Items, number{page.Next})
		}
		if len(page.Items) == 0 && in.To == 5 {
			page.End = true
		} else if len(page.Items) == 0 {
			select {
			case <-time.After(time.Duration(in.WaitMS) * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return page, nil
	}, Followed("numbers", "seq"))
	spec.Name, spec.Path = "number.one", "/number"
	one := Define(spec, func(context.Context, countParams) (int, error) { return 1, nil })
	table, err := NewTable(&fakeRouter{self: "n1", ready: open}, slog.New(slog.DiscardHandler), count, one)
	require.NoError(t, err)
	return table
}

func TestStreamFollowsToTheEnd(t *testing.T) {
	table := counting(t)
	var got []string
	emit := func(i Item) error { got = append(got, i.Cursor+string(i.Value)); return nil }
	require.NoError(t, table.Stream(t.Context(), Request{Method: "number.list", Params: []byte(`{"to":5,"after":1}`)}, emit))
	require.Equal(t, []string{`2{"seq":2}`, `3{"seq":3}`, `4{"seq":4}`, `5{"seq":5}`}, got)

	stop := errors.New("reader is gone")
	err := table.Stream(t.Context(), Request{Method: "number.list", Params: []byte(`{"to":5}`)}, func(Item) error { return stop })
	require.ErrorIs(t, err, stop)
	err = table.Stream(t.Context(), Request{Method: "number.list", Params: []byte(`{"to":-1}`)}, emit)
	require.Equal(t, errs.NotFound, errs.KindOf(err))
	err = table.Stream(t.Context(), Request{Method: "number.one"}, emit)
	require.Equal(t, errs.NotAcceptable, errs.KindOf(err))
	require.Error(t, table.Stream(t.Context(), Request{Method: "no.such"}, emit))
	require.Error(t, table.Stream(t.Context(), Request{Method: "number.list", Params: []byte(`[]`)}, emit))
}

func TestStreamWaitsForMoreAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := counting(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		err := table.Stream(ctx, Request{Method: "number.list", Params: []byte(`{"to":3}`)}, func(Item) error { n++; return nil })
		require.Error(t, err)
		require.Equal(t, 3, n)
	})
}

// notes collects what a connection was sent.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) notify(_ context.Context, method string, params any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	note := params.(Notification)
	text := fmt.Sprintf("%s %s %s", method, note.Subscription, note.Event)
	if note.Error != nil {
		text += string(note.Error.Kind)
	}
	n.list = append(n.list, text)
	return nil
}

func TestSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent notes
		s := NewSubscriptions(counting(t), sent.notify)
		got, err := SubscriptionsFrom(WithSubscriptions(t.Context(), s))
		require.NoError(t, err)
		require.Same(t, s, got)
		_, err = SubscriptionsFrom(t.Context())
		require.Equal(t, errs.NotAcceptable, errs.KindOf(err))

		id, err := s.Add(Request{Method: "number.list", Params: []byte(`{"to":2}`)})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{`event s1 {"seq":1}`, `event s1 {"seq":2}`}, sent.list)
		require.NoError(t, s.Remove(id))
		require.Equal(t, errs.NotFound, errs.KindOf(s.Remove(id)))
		synctest.Wait()
		require.Len(t, sent.list, 2, "a subscription that was ended says nothing more")

		_, err = s.Add(Request{Method: "number.list", Params: []byte(`{"to":-1}`)})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, "end s2 not_found", sent.list[2])

		for range maxSubscriptions {
			_, err = s.Add(Request{Method: "number.list", Params: []byte(`{"to":1}`)})
			require.NoError(t, err)
		}
		_, err = s.Add(Request{Method: "number.list"})
		require.Equal(t, errs.RateLimited, errs.KindOf(err))
		s.Close()
		_, err = s.Add(Request{Method: "number.list"})
		require.Equal(t, errs.ConnectionLost, errs.KindOf(err))
	})
}
