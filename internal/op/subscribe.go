package op

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Subscriptions are the streams that one connection (a WebSocket, or a client
// on the nodes' port) receives as notifications. Make one per connection with
// [NewSubscriptions], put it in the context of every request of that
// connection with [WithSubscriptions], and close it with the connection.
type Subscriptions struct {
	table  *Table
	notify func(ctx context.Context, method string, params any) error

	mu     sync.Mutex
	wg     sync.WaitGroup
	last   int
	cancel map[string]context.CancelFunc
	closed bool
}

// maxSubscriptions bounds what one connection can ask for.
const maxSubscriptions = 64

// Notification is what a subscriber gets, as the params of a notification
// called "event" (or "end" when the stream is over).
type Notification struct {
	Subscription string          `json:"subscription"`
	Event        json.RawMessage `json:"event,omitempty"`
	Error        *errs.Problem   `json:"error,omitempty"` // why the stream is over, if not by its nature
}

// NewSubscriptions returns an empty set for a connection; notify sends it a
// notification and may wait until the connection has room.
func NewSubscriptions(table *Table, notify func(ctx context.Context, method string, params any) error) *Subscriptions {
	return &Subscriptions{table: table, notify: notify, cancel: map[string]context.CancelFunc{}}
}

type subscriptionsKey struct{}

// WithSubscriptions makes a connection's subscriptions known to the operations
// that run in the context.
func WithSubscriptions(ctx context.Context, s *Subscriptions) context.Context {
	return context.WithValue(ctx, subscriptionsKey{}, s)
}

// SubscriptionsFrom returns the subscriptions of the connection that a request
// came in by, an error if it has none: over a plain POST nothing can be sent
// later.
func SubscriptionsFrom(ctx context.Context) (*Subscriptions, error) {
	s, _ := ctx.Value(subscriptionsKey{}).(*Subscriptions)
	if s == nil {
		return nil, errs.New(errs.NotAcceptable, "a subscription needs a connection that stays: "+
			"use a WebSocket at /rpc, the nodes' TCP port, or the event stream at GET /api/v1/events/stream")
	}
	return s, nil
}

// Add starts a stream and returns its id. The stream outlives the request but
// not the connection.
func (s *Subscriptions) Add(req Request) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return "", errs.New(errs.ConnectionLost, "the connection is closing")
	case len(s.cancel) >= maxSubscriptions:
		return "", errs.New(errs.RateLimited, "this connection has %d subscriptions, the most it can have; end one first", maxSubscriptions)
	}
	s.last++
	id := fmt.Sprintf("s%d", s.last)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel[id] = cancel
	s.wg.Go(func() { s.run(ctx, id, req) })
	return id, nil
}

func (s *Subscriptions) run(ctx context.Context, id string, req Request) {
	err := s.table.Stream(ctx, req, func(item Item) error {
		return s.notify(ctx, "event", Notification{Subscription: id, Event: item.Value})
	})
	if ctx.Err() == nil {
		n := Notification{Subscription: id}
		if err != nil {
			p := errs.ProblemOf(err)
			n.Error = &p
		}
		_ = s.notify(ctx, "end", n) // if this fails the connection is gone, and with it the subscriber
	}
	_ = s.Remove(id)
}

// Remove ends a subscription; an error of kind not_found if there is none.
func (s *Subscriptions) Remove(id string) error {
	s.mu.Lock()
	cancel := s.cancel[id]
	delete(s.cancel, id)
	s.mu.Unlock()
	if cancel == nil {
		return errs.New(errs.NotFound, "this connection has no subscription %q", id)
	}
	cancel()
	return nil
}

// Close ends all subscriptions and returns when they have ended.
func (s *Subscriptions) Close() {
	s.mu.Lock()
	s.closed = true
	for _, cancel := range s.cancel {
		cancel()
	}
	s.mu.Unlock()
	s.wg.Wait()
}
