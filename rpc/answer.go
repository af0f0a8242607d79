package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// batchWorkers is how many items of one posted batch run at once.
const batchWorkers = 16

// HandleFunc answers one request that came without a connection.
type HandleFunc func(ctx context.Context, method string, params json.RawMessage) (any, error)

// Answer answers one body as it comes over HTTP POST: a request, a
// notification or a batch. It returns nil when there is nothing to answer.
// The items of a batch run concurrently; their answers come in their order, and
// have no more than limit bytes in all, except that an item for which there is
// no room is still answered, with too_large.
func Answer(ctx context.Context, body []byte, limit int, handle HandleFunc, log *slog.Logger) []byte {
	if bad := CheckJSON(body); bad != nil {
		return appendError(nil, nullID, encodeError(bad))
	}
	body = bytes.TrimSpace(body)
	if body[0] != '[' {
		m := asked(decode(body))
		return answerOne(ctx, &m, limit, handle, log)
	}
	messages, bad := split(body)
	if bad != nil {
		return appendError(nil, nullID, encodeError(bad))
	}
	for i := range messages {
		messages[i] = asked(messages[i])
	}
	return answerBatch(ctx, messages, limit, handle, log)
}

// asked makes a response, to which nobody listens, a bad message.
func asked(m message) message {
	if m.isResponse() {
		return message{id: m.id, bad: invalid("nothing was asked, so a response has nobody to go to")}
	}
	return m
}

func answerBatch(ctx context.Context, messages []message, limit int, handle HandleFunc, log *slog.Logger) (whole []byte) {
	b := newBatch(messages, limit)
	var next atomic.Int64
	var wg sync.WaitGroup
	// Each worker takes one item after the other: a goroutine for each item would
	// have to grow its stack for each.
	for range min(batchWorkers, len(messages)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(messages); i = int(next.Add(1)) - 1 {
				m := &messages[i]
				if b.isFull() && m.bad == nil && m.id != nil {
					m.bad = notDone
				}
				answer := answerOne(ctx, m, limit, handle, log)
				if answer == nil {
					continue
				}
				if all := b.add(i, m.id, answer); all != nil {
					whole = all // by the last of them alone
				}
			}
		})
	}
	wg.Wait()
	return whole
}

func answerOne(ctx context.Context, m *message, limit int, handle HandleFunc, log *slog.Logger) []byte {
	if m.bad != nil {
		return appendError(nil, m.id, encodeError(m.bad))
	}
	result, err := recovered(ctx, m, handle, log)
	if m.id == nil {
		return nil
	}
	raw, err := encodeResult(m.method, result, err)
	if err != nil {
		return appendError(nil, m.id, encodeErrorWithin(err, limit))
	}
	return appendResult(nil, m.id, raw)
}

// recovered calls handle and turns a panic into an error of kind internal.
func recovered(ctx context.Context, m *message, handle HandleFunc, log *slog.Logger) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("handler panicked", "method", m.method, "panic", r, "stack", string(debug.Stack()))
			err = errs.New(errs.Internal, "%s failed inside Glassbox: %v; the node's log has the stack", m.method, r)
		}
	}()
	return handle(ctx, m.method, m.params)
}
