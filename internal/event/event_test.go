package event

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

func newLog(node string, incarnation uint64, history int) *Log {
	now := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6789, time.FixedZone("x", 3600)) }
	return NewLog(node, incarnation, history, now, slog.New(slog.DiscardHandler))
}

// read reads without waiting.
func read(t *testing.T, l *Log, after string, f Filter, limit int) Page {
	t.Helper()
	page, err := l.Read(t.Context(), after, f, limit, false)
	require.NoError(t, err)
	return page
}

// told is what a page says, in short.
func told(p Page) []string {
	list := []string{}
	for _, e := range p.Events {
		list = append(list, fmt.Sprintf("%s %s %s %s", e.ID, e.Node, e.Type, e.Subject))
	}
	return list
}

func TestReadAndResume(t *testing.T) {
	l := newLog("n1", 35, 100)
	require.Empty(t, read(t, l, "", Filter{}, 10).Events)
	require.NotNil(t, read(t, l, "", Filter{}, 10).Events, "an empty list, not null")
	l.Publish(Event{Type: "A", Subject: "s"})
	l.Observe(Event{Type: "B", Subject: "n2", Why: "because"})
	l.Publish(Event{Type: "A", Subject: "t"})
	page := read(t, l, "", Filter{}, 2)
	require.Equal(t, []string{"n1.z.1 n1 A s", "n1.z.2 n1 B n2"}, told(page))
	require.Equal(t, "n1.z.2", page.Next)
	require.Equal(t, time.Date(2026, 1, 2, 2, 4, 5, 6000, time.UTC), page.Events[0].Time, "UTC, in microseconds")
	require.EqualValues(t, 1, page.Events[0].Seq)
	require.Zero(t, page.Events[1].Seq, "only here")
	require.Equal(t, []string{"n1.z.3 n1 A t"}, told(read(t, l, page.Next, Filter{}, 2)))
	require.Equal(t, []string{"n1.z.1 n1 A s", "n1.z.3 n1 A t"}, told(read(t, l, "", Filter{Types: []string{"A", "C"}}, 9)))
	require.Equal(t, []string{"n1.z.3 n1 A t"}, told(read(t, l, "", Filter{Subject: "t"}, 9)))
	none := read(t, l, "", Filter{Subject: "nobody"}, 9)
	require.Empty(t, none.Events)
	require.Equal(t, "n1.z.3", none.Next, "behind all that was looked at")
	require.Equal(t, "n1.z.3", read(t, l, "now", Filter{}, 9).Next)
	require.EqualValues(t, 3, l.Last())
	require.EqualValues(t, 2, l.Out().Last(), "what is published goes to the peers")
}

// TestABoundedHistory tells how much of it is gone, at an id to resume from.
func TestABoundedHistory(t *testing.T) {
	l := newLog("n1", 35, 3)
	for i := range 10 {
		l.Publish(Event{Type: "A", Subject: fmt.Sprint(i + 1)})
	}
	require.Equal(t, []string{"n1.z.8 n1 A 8", "n1.z.9 n1 A 9", "n1.z.10 n1 A 10"}, told(read(t, l, "", Filter{}, 9)), "who asks for the beginning gets what there is")
	page := read(t, l, "n1.z.2", Filter{Types: []string{"A"}}, 9)
	require.Equal(t, []string{"n1.z.7 n1 Gap n1", "n1.z.8 n1 A 8", "n1.z.9 n1 A 9", "n1.z.10 n1 A 10"}, told(page))
	require.JSONEq(t, `{"missed":5}`, string(page.Events[0].Data))
	require.Equal(t, told(page)[1:], told(read(t, l, page.Events[0].ID, Filter{}, 9)), "the gap's own id is a place to go on")
}

// TestFromTheEndOfNothing: who began at the end of an empty log, and was too
// slow then, is told so; who asks for the beginning gets what there is.
func TestFromTheEndOfNothing(t *testing.T) {
	l := newLog("n1", 35, 3)
	end := read(t, l, "now", Filter{}, 9).Next
	require.Equal(t, "n1.z.0", end)
	for range 5 {
		l.Publish(Event{Type: "A"})
	}
	page := read(t, l, end, Filter{}, 9)
	require.Equal(t, Gap, page.Events[0].Type)
	require.JSONEq(t, `{"missed":2}`, string(page.Events[0].Data))
	require.Len(t, page.Events, 4)
	require.Len(t, read(t, l, "", Filter{}, 9).Events, 3)
	require.Len(t, read(t, l, "n2.z.1", Filter{}, 9).Events, 4, "one gap is enough")
}

// TestMessages: a log of their own, whose ids are none of the events'.
func TestMessages(t *testing.T) {
	l := NewMessages("n1", 35, time.Now, slog.New(slog.DiscardHandler))
	id := l.Publish(Event{Type: Message, Subject: "a", Data: json.RawMessage(`1`)})
	require.Equal(t, "n1.m-z.1", id)
	require.Equal(t, "n1.m-z.2", l.Publish(Event{Type: Message, Subject: "b", Data: json.RawMessage(`2`)}))
	require.Empty(t, l.Publish(Event{Type: Message, Subject: "b", Data: json.RawMessage(`{`)}))
	require.Equal(t, []string{"n1.m-z.1 n1 Message a"}, told(read(t, l, "", Filter{Subject: "a"}, 9)))
	require.Equal(t, []string{"n1.m-z.2 n1 Message b"}, told(read(t, l, id, Filter{}, 9)))
	for log, id := range map[*Log]string{l: "n1.z.1", newLog("n1", 35, 9): id} {
		page := read(t, log, id, Filter{}, 9)
		require.Equal(t, Gap, page.Events[0].Type)
		require.Contains(t, page.Events[0].Why, "another kind of stream")
	}
	for range messageLimit.Entries {
		l.Publish(Event{Type: Message, Subject: "b", Data: json.RawMessage(`3`)})
	}
	l.Receive("n2", 1, 7, nil)
	page := read(t, l, id, Filter{Subject: "a"}, 10_000)
	require.Len(t, page.Events, 2)
	require.Contains(t, page.Events[0].Why, "2 messages are no longer in the history")
	require.Contains(t, page.Events[1].Why, "7 messages of node n2")
}

// TestLargeEvents: neither the history nor a page grows without bound.
func TestLargeEvents(t *testing.T) {
	l := newLog("n1", 35, 10_000)
	large := json.RawMessage(`"` + strings.Repeat("x", 100<<10) + `"`)
	for range 200 {
		l.Publish(Event{Type: "A", Data: large})
	}
	seen := 0
	for after := ""; ; {
		page := read(t, l, after, Filter{}, 1000)
		if len(page.Events) == 0 {
			break
		}
		size := 0
		for _, e := range page.Events {
			require.Equal(t, "A", e.Type)
			size += e.size()
		}
		require.LessOrEqual(t, size, pageBytes+len(large)+1000)
		seen, after = seen+len(page.Events), page.Next
	}
	require.Equal(t, historyBytes/Event{Data: large}.size(), seen)
}

func TestStrangeIds(t *testing.T) {
	l := newLog("n1", 35, 9)
	l.Publish(Event{Type: "A"})
	for _, id := range []string{"n2.z.1", "n1.y.1", "n1.z.99"} {
		page := read(t, l, id, Filter{}, 9)
		require.Equal(t, Gap, page.Events[0].Type, id)
		require.Contains(t, page.Events[0].Why, id)
		require.Len(t, page.Events, 2, "and the whole history")
	}
	for _, id := range []string{"x", "1.2.3.4", "n1.z.last", "n1.z.-1", "n1.z."} {
		_, err := l.Read(t.Context(), id, Filter{}, 9, false)
		require.Equal(t, errs.BadParameter, errs.KindOf(err), id)
		require.Equal(t, "after", errs.From(err).Param)
	}
}

// TestWaiting: a reader waits for what it picks, until its context ends, which
// is no error.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog("n1", 35, 9)
		got := make(chan Page)
		go func() {
			page, err := l.Read(t.Context(), "now", Filter{Types: []string{"B"}}, 9, true)
			require.NoError(t, err)
			got <- page
		}()
		synctest.Wait()
		l.Publish(Event{Type: "A"})
		synctest.Wait()
		l.Publish(Event{Type: "B"})
		require.Equal(t, []string{"n1.z.2 n1 B "}, told(<-got))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		page, err := l.Read(ctx, "now", Filter{}, 9, true)
		require.NoError(t, err)
		require.Empty(t, page.Events)
		require.Equal(t, "n1.z.2", page.Next)
	})
}

// TestReceive: a peer's events are shown in this log's own order; what is none
// of its own is left out.
func TestReceive(t *testing.T) {
	var log bytes.Buffer
	l := newLog("n1", 35, 99)
	l.slog = slog.New(slog.NewTextHandler(&log, nil))
	peer := newLog("n2", 3, 99)
	peer.Publish(Event{Type: "A", Subject: "s", Data: json.RawMessage(`{"a":1}`)})
	items, _ := peer.Out().TryRead(0, 9)
	l.Publish(Event{Type: "Own"})
	l.Receive("n2", 3, 4, []json.RawMessage{items[0].Value, []byte(`{`), []byte(`{"node":"n3","type":"A"}`), []byte(`{"node":"n2"}`)})
	page := read(t, l, "", Filter{}, 9)
	require.Equal(t, []string{"n1.z.1 n1 Own ", "n1.z.2 n2 Gap n1", "n1.z.3 n2 A s"}, told(page))
	require.JSONEq(t, `{"missed":4}`, string(page.Events[1].Data))
	require.EqualValues(t, 3, page.Events[2].Incarnation)
	require.JSONEq(t, `{"a":1}`, string(page.Events[2].Data))
	require.Equal(t, 3, strings.Count(log.String(), "left out"))

	l.Publish(Event{Type: "A", Data: json.RawMessage("{")})
	require.Contains(t, log.String(), "event not published")
	require.EqualValues(t, 3, l.Last())
}
