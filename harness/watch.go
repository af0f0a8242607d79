package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Event is an event of a node's stream, with this machine's time of its arrival.
type Event struct {
	ID      string          `json:"id"`
	Node    string          `json:"node"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data"`
	Why     string          `json:"why"`
	Arrived time.Time       `json:"arrived"`
}

// Watch is a node's stream of events, recorded as it comes. When the node is
// lost it goes on with its next start.
type Watch struct {
	cluster Cluster
	node    string
	cancel  context.CancelFunc
	ended   chan struct{}

	mu      sync.Mutex
	after   string // the newest event's id
	events  []Event
	changed chan struct{} // closed and replaced at each event
}

// rewatchAfter is the pause before a lost stream is asked for again.
const rewatchAfter = 10 * time.Millisecond

// WatchNode follows a node's events, from the end of its history on. Close it.
func WatchNode(ctx context.Context, c Cluster, node string) (*Watch, error) {
	var now struct {
		Next string `json:"next"`
	}
	if err := Client(c, node).Call(ctx, "event.list", map[string]any{"after": "now"}, &now); err != nil {
		return nil, fmt.Errorf("watch %s: %w", node, err)
	}
	return watchFrom(ctx, c, node, now.Next), nil
}

// watchFrom follows a node's events from behind an id on; "" is the beginning of
// its history.
func watchFrom(ctx context.Context, c Cluster, node, after string) *Watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &Watch{cluster: c, node: node, after: after, changed: make(chan struct{}), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.follow(ctx)
	}()
	return w
}

// follow records until ctx ends. Why a stream was lost does not matter here: the
// node is killed, frozen or cut off on purpose.
func (w *Watch) follow(ctx context.Context) {
	for ctx.Err() == nil {
		_ = Client(w.cluster, w.node).Stream(ctx, "event.list", w.behind(), func(_ string, raw json.RawMessage) error {
			return w.add(raw)
		})
		select {
		case <-time.After(rewatchAfter):
		case <-ctx.Done():
		}
	}
}

// catchUp reads what a watch that was closed has not seen, up to now.
func (w *Watch) catchUp(ctx context.Context) error {
	for {
		page, err := Client(w.cluster, w.node).Page(ctx, "event.list", w.behind())
		if err != nil {
			return fmt.Errorf("its newest events cannot be read: %w", err)
		}
		for _, raw := range page.Items {
			if err := w.add(raw); err != nil {
				return err
			}
		}
		if len(page.Items) == 0 {
			return nil
		}
	}
}

// behind are the parameters of a read behind what was seen.
func (w *Watch) behind() map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[string]any{"after": w.after}
}

func (w *Watch) add(raw json.RawMessage) error {
	e := Event{Arrived: time.Now()}
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events, w.after = append(w.events, e), e.ID
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

// Events returns what has arrived so far.
func (w *Watch) Events() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Event(nil), w.events...)
}

// Wait waits for the first event that matches, those that have arrived
// included.
func (w *Watch) Wait(ctx context.Context, match func(Event) bool) (Event, error) {
	for seen := 0; ; {
		w.mu.Lock()
		events, changed := w.events[seen:], w.changed
		w.mu.Unlock()
		for _, e := range events {
			if match(e) {
				return e, nil
			}
		}
		seen += len(events)
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("no such event on %s among %d: %w", w.node, seen, ctx.Err())
		}
	}
}

// Close ends the watch and returns when it has ended.
func (w *Watch) Close() {
	w.cancel()
	<-w.ended
}
