package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
)

// Times of an event stream.
const (
	keepAliveEvery = 15 * time.Second
	writeTimeout   = 10 * time.Second // of one event; a client that does not read is given up
)

// wantsStream decides between one page and a stream of a followed operation.
func wantsStream(o *op.Op, r *http.Request, params map[string]json.RawMessage) bool {
	if !o.Followed() {
		return false
	}
	return o.StreamOf != "" || string(params["follow"]) == "true" || strings.Contains(r.Header.Get(echo.HeaderAccept), "text/event-stream")
}

// stream serves an operation as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). A client
// that comes back says by Last-Event-ID where to go on.
func (s *Server) stream(o *op.Op, c echo.Context, params map[string]json.RawMessage) error {
	if last := c.Request().Header.Get("Last-Event-ID"); last != "" {
		raw, err := o.FromText("after", []string{last})
		if err != nil {
			return err
		}
		params["after"] = raw
	}
	raw, err := jsontext.Marshal(params)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "the parameters cannot be put together")
	}
	w := &eventWriter{c: c, rc: http.NewResponseController(c.Response())}
	if isHead(c.Request()) {
		return w.begin() // nobody would see the events, nor the end
	}
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	var beating sync.WaitGroup
	beating.Go(func() { w.keepAlive(ctx, cancel) })
	err = s.cfg.Table.Stream(ctx, op.Request{Method: o.Name, Params: raw, Caller: caller(c, "rest")}, func(item op.Item) error {
		return w.write("id: " + item.Cursor + "\nevent: " + typeOf(item.Value) + "\ndata: " + string(item.Value) + "\n\n")
	})
	cancel()
	beating.Wait()
	if err == nil || errors.Is(err, context.Canceled) || errs.KindOf(err) == errs.Cancelled {
		return w.begin()
	}
	return w.fail(err)
}

func typeOf(item json.RawMessage) string {
	var typed struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(item, &typed) != nil || typed.Type == "" {
		return "item"
	}
	return typed.Type
}

// eventWriter writes events, each at once and within its time.
type eventWriter struct {
	c  echo.Context
	rc *http.ResponseController

	mu    sync.Mutex
	begun bool
}

// begin sends the head, once. Until then an error is an ordinary answer.
func (w *eventWriter) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head()
	return nil
}

// head sends the head if it was not yet. The caller holds mu.
func (w *eventWriter) head() {
	if w.begun {
		return
	}
	w.begun = true
	h := w.c.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set(echo.HeaderCacheControl, "no-store")
	w.c.Response().WriteHeader(http.StatusOK)
}

func (w *eventWriter) write(text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head()
	if err := w.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("bound the write: %w", err)
	}
	if _, err := w.c.Response().Write([]byte(text)); err != nil {
		return err
	}
	return w.rc.Flush()
}

// keepAlive begins the stream soon, even if nothing happens, and then shows
// that it lives. A client that is gone ends it.
func (w *eventWriter) keepAlive(ctx context.Context, gone func()) {
	wait := time.NewTimer(beginAfter)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
			if w.write(": still here\n\n") != nil {
				gone()
				return
			}
			wait.Reset(keepAliveEvery)
		}
	}
}

// beginAfter is how long a first error may take to be an ordinary answer.
const beginAfter = 50 * time.Millisecond

// fail ends the stream with an error.
func (w *eventWriter) fail(err error) error {
	w.mu.Lock()
	begun := w.begun
	w.mu.Unlock()
	if !begun {
		return err
	}
	raw, marshalErr := jsontext.Marshal(errs.ProblemOf(err))
	if marshalErr != nil {
		return marshalErr
	}
	return w.write("event: error\ndata: " + string(raw) + "\n\n")
}
