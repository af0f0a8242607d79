package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// batchWorkers is how many items of one posted batch run at once.
const batchWorkers = 16

// Answer answers one body as it comes over HTTP POST: a request, a
// notification or a batch. It returns nil when there is nothing to answer.
// The items of a batch run concurrently; their answers come in their order.
func Answer(ctx context.Context, body []byte, handle func(ctx context.Context, method string, params json.RawMessage) (any, error), log *slog.Logger) []byte {
	elements, isBatch, bad := parse(body)
	if bad != nil {
		return appendError(nil, nullID, encodeError(bad))
	}
	answers := make([][]byte, len(elements))
	slots := make(chan struct{}, batchWorkers)
	var wg sync.WaitGroup
	for i, element := range elements {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			answers[i] = answerOne(ctx, element, handle, log)
		})
	}
	wg.Wait()
	answers = dropEmpty(answers)
	switch {
	case len(answers) == 0:
		return nil
	case !isBatch:
		return answers[0]
	default:
		return append(append([]byte{'['}, bytes.Join(answers, []byte{','})...), ']')
	}
}

func dropEmpty(answers [][]byte) [][]byte {
	var kept [][]byte
	for _, answer := range answers {
		if answer != nil {
			kept = append(kept, answer)
		}
	}
	return kept
}

func answerOne(ctx context.Context, element []byte, handle func(context.Context, string, json.RawMessage) (any, error), log *slog.Logger) (answer []byte) {
	m, bad := decode(element)
	switch {
	case bad != nil:
		return appendError(nil, m.id, encodeError(bad))
	case m.isResponse():
		return appendError(nil, m.id, encodeError(invalid("nothing was asked, so a response has nobody to go to")))
	}
	result, err := recovered(ctx, &m, handle, log)
	if m.id == nil {
		return nil
	}
	raw, encodeErr := encode(result)
	if err == nil {
		err = encodeErr
	}
	if err != nil {
		return appendError(nil, m.id, encodeError(err))
	}
	return appendResult(nil, m.id, raw)
}

// recovered calls handle and turns a panic into an error of kind internal.
func recovered(ctx context.Context, m *message, handle func(context.Context, string, json.RawMessage) (any, error), log *slog.Logger) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("handler panicked", "method", m.method, "panic", r, "stack", string(debug.Stack()))
			err = errs.New(errs.Internal, "%s failed inside Glassbox: %v; the node's log has the stack", m.method, r)
		}
	}()
	return handle(ctx, m.method, m.params)
}
