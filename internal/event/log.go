package event

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
)

// Bounds of what is kept for peers that are behind: a peer that was away for
// longer is told how much it missed. And of the messages that a node remembers.
var (
	outLimit     = journal.Limits{Entries: 4096, Bytes: 1 << 20}
	messageLimit = journal.Limits{Entries: 4096, Bytes: 4 << 20}
)

// Bounds in bytes of the events that a node remembers, and of one page.
const (
	historyBytes = 8 << 20
	pageBytes    = 1 << 20
)

// size is about what an event takes.
func (e Event) size() int {
	const fields = 200 // ids, time, type and the names of all
	return fields + len(e.Subject) + len(e.Data) + len(e.Why)
}

// Log is one node's history of events, or of messages.
type Log struct {
	node string
	what string // "events" or "messages", for the why of a gap
	mark string // tells ids of one kind of log from those of the other
	now  func() time.Time
	slog *slog.Logger

	mu          sync.Mutex // orders the two appends of a publication
	incarnation uint64
	out         *journal.Journal[json.RawMessage] // own events, for the peers
	view        *journal.Journal[Event]           // everything this node shows
	texts       map[string]string                 // see known
}

// NewLog returns an empty log of a node that remembers at most history events,
// and 8 MiB of them.
func NewLog(node string, incarnation uint64, history int, now func() time.Time, log *slog.Logger) *Log {
	l := bounded(node, incarnation, outLimit, journal.Limits{Entries: history, Bytes: historyBytes}, now, log)
	l.what = "events"
	return l
}

// NewMessages returns an empty log of the messages that are published to
// topics. They are kept only for who reads slower than they come, 4096 of them
// and 4 MiB, and apart from the events, which they would push out of the history.
func NewMessages(node string, incarnation uint64, now func() time.Time, log *slog.Logger) *Log {
	l := bounded(node, incarnation, messageLimit, messageLimit, now, log)
	l.what, l.mark = "messages", "m-"
	return l
}

func bounded(node string, incarnation uint64, out, view journal.Limits, now func() time.Time, log *slog.Logger) *Log {
	return &Log{
		node: node, now: now, slog: log, incarnation: incarnation,
		out:  journal.New(out, func(raw json.RawMessage) int { return len(raw) }),
		view: journal.New(view, Event.size), texts: map[string]string{},
	}
}

// Out is the sequence of this node's published events, for the peers.
func (l *Log) Out() *journal.Journal[json.RawMessage] { return l.out }

// Publish records an event of this node, for all peers, and returns its id in
// this log. Type, Subject, Data and Why are taken from e. What cannot be written
// as JSON is logged and left out, and has no id.
func (l *Log) Publish(e Event) (id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e = l.stamp(e)
	e.Seq = l.out.Last() + 1
	raw, err := e.marshal()
	if err != nil {
		l.slog.Error("event not published", "type", e.Type, "subject", e.Subject, "err", err)
		return ""
	}
	l.out.Append(raw)
	return l.id(l.view.Append(e))
}

// Observe records an event that only this node's log shows: how it sees the
// others.
func (l *Log) Observe(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view.Append(l.stamp(e))
}

func (l *Log) stamp(e Event) Event {
	e.Node, e.Incarnation = l.node, l.incarnation
	if e.Time.IsZero() {
		e.Time = l.now()
	}
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	return e
}

// Receive records events that a peer published, in its order. Missed is how
// many came before them and were lost on the way. What is no event, or not the
// peer's own, is logged and left out.
func (l *Log) Receive(origin string, incarnation, missed uint64, raws []json.RawMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if missed > 0 {
		gap := l.gap(missed, "%d %s of node %s were not received: it published more than it keeps for a peer that is behind", missed, l.what, origin)
		gap.Node, gap.Incarnation = origin, incarnation
		l.view.Append(gap)
	}
	for _, raw := range raws {
		e, ok := decode(raw, l.known)
		var err error
		if !ok {
			e = Event{}
			err = json.Unmarshal(raw, &e)
		}
		if err != nil || e.Node != origin || e.Type == "" {
			l.slog.Warn("event of a peer left out: it is none, or another node's", "peer", origin, "err", err)
			continue
		}
		e.ID = ""
		l.view.Append(e)
	}
}

func (l *Log) gap(missed uint64, why string, args ...any) Event {
	e := l.stamp(Event{Type: Gap, Subject: l.node, Why: fmt.Sprintf(why, args...)})
	if missed > 0 {
		e.Data = json.RawMessage(fmt.Sprintf(`{"missed":%d}`, missed))
	}
	return e
}

// Read returns up to limit events behind the id after: "" is the beginning of
// the history, "now" its end. If there is none and wait is set, it waits until
// there is one or the context ends, which is no error. An id this log cannot
// resume at is answered with a Gap and the whole history.
func (l *Log) Read(ctx context.Context, after string, f Filter, limit int, wait bool) (Page, error) {
	position, page, err := l.position(after)
	if err != nil {
		return Page{}, err
	}
	for beginning := after == "" || len(page.Events) > 0; ; beginning = false {
		items, missed := l.view.TryRead(position, limit)
		if missed > 0 && !beginning { // who asks for the beginning gets what there is
			gap := l.gap(missed, "%d %s are no longer in the history of node %s", missed, l.what, l.node)
			gap.ID = l.id(position + missed)
			page.Events = append(page.Events, gap)
		}
		size := 0
		for _, item := range items {
			if position = item.Seq; !f.picks(&item.Value) {
				continue
			}
			page.Events = append(page.Events, item.Value)
			page.Events[len(page.Events)-1].ID = l.id(item.Seq)
			if size += item.Value.size(); size > pageBytes {
				break // the rest is for the next page
			}
		}
		page.Next = l.id(position)
		if len(page.Events) > 0 || len(items) == 0 && !wait {
			return page, nil
		}
		if len(items) == 0 && l.view.Wait(ctx, position) != nil {
			return page, nil
		}
	}
}

// boot tells one start of the node from the next in ids.
func (l *Log) boot() string { return l.mark + strconv.FormatUint(l.incarnation, 36) }

func (l *Log) id(seq uint64) string { return fmt.Sprintf("%s.%s.%d", l.node, l.boot(), seq) }

// position finds the place an id means, and the Gap to begin with if this log
// does not have that place.
func (l *Log) position(after string) (uint64, Page, error) {
	switch after {
	case "":
		return 0, Page{Events: []Event{}}, nil
	case "now":
		return l.view.Last(), Page{Events: []Event{}}, nil
	}
	parts := strings.Split(after, ".")
	if len(parts) != 3 {
		return 0, Page{}, errs.BadParam("after", "%q is not the id of an event; take one from event.list, or \"now\"", after)
	}
	seq, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return 0, Page{}, errs.BadParam("after", "%q does not end in a number; take the id of an event from event.list", after)
	}
	if parts[0] == l.node && parts[1] == l.boot() && seq <= l.view.Last() {
		return seq, Page{Events: []Event{}}, nil
	}
	gap := l.gap(0, "the id %s is of another node, of an earlier start or of another kind of stream; these are the %s of node %s since it started", after, l.what, l.node)
	gap.ID = l.id(0)
	return 0, Page{Events: []Event{gap}}, nil
}

// Last returns how many events, or messages, the log has shown so far.
func (l *Log) Last() uint64 { return l.view.Last() }
