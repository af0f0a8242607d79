package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Event is an event of a node's stream, with the harness's time of its arrival.
type Event struct {
	ID      string          `json:"id"`
	Node    string          `json:"node"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data"`
	Why     string          `json:"why"`
	Arrived time.Time       `json:"-"`
}

// Watch is a node's stream of events, recorded as it comes.
type Watch struct {
	node    *Node
	mu      sync.Mutex
	events  []Event
	err     error
	changed chan struct{}
	cancel  context.CancelFunc
	ended   chan struct{}
}

// Watch follows the node's events, from the end of its history on. Close it.
func (n *Node) Watch(ctx context.Context) (*Watch, error) {
	var now struct {
		Next string `json:"next"`
	}
	if err := n.Client().Call(ctx, "event.list", map[string]any{"after": "now"}, &now); err != nil {
		return nil, fmt.Errorf("watch %s: %w", n.Name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Watch{node: n, changed: make(chan struct{}), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.add(nil, n.Client().Stream(ctx, "event.list", map[string]any{"after": now.Next}, func(_ string, raw json.RawMessage) error {
			e := Event{Arrived: time.Now()}
			err := json.Unmarshal(raw, &e)
			w.add(&e, err)
			return err
		}))
	}()
	return w, nil
}

func (w *Watch) add(e *Event, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e != nil {
		w.events = append(w.events, *e)
	}
	w.err = err
	close(w.changed)
	w.changed = make(chan struct{})
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
		events, err, changed := w.events[seen:], w.err, w.changed
		w.mu.Unlock()
		for _, e := range events {
			if match(e) {
				return e, nil
			}
		}
		seen += len(events)
		if err != nil {
			return Event{}, fmt.Errorf("the event stream of %s broke: %w", w.node.Name, err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("no such event on %s among %d: %w", w.node.Name, seen, ctx.Err())
		}
	}
}

// Close ends the watch and returns when it has ended.
func (w *Watch) Close() {
	w.cancel()
	<-w.ended
}
