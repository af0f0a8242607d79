package rpc

import (
	"encoding/json"
	"sync"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// maxBatch is how many messages a batch may have. Each costs an answer, however
// short it is itself.
const maxBatch = 1000

// split takes a batch, known to be valid JSON, apart. It builds nothing of one
// that it refuses.
func split(b []byte) ([]message, *errs.Error) {
	n := 0
	jsontext.EachElement(b, func([]byte) { n++ })
	switch {
	case n == 0:
		return nil, errs.New(errs.InvalidRequest, "a batch has at least one message")
	case n > maxBatch:
		return nil, errs.New(errs.TooLarge, "the batch has %d messages, at most %d are taken at once; nothing of it was done, send it in parts", n, maxBatch)
	}
	messages := make([]message, 0, n)
	jsontext.EachElement(b, func(element []byte) { messages = append(messages, decode(element)) })
	return messages, nil
}

// What an answer becomes that the batch has no room for.
var (
	notDone   = errs.New(errs.TooLarge, "the answers to this batch reached the limit before this request, which was not done; ask again in another batch")
	doneButOf = &errs.Error{Kind: errs.TooLarge, Unsure: true, Message: "this was done, but the answers to this batch are longer than the limit; ask for less, or in another batch"}
	// Encoded once: there may be a thousand.
	encodedDone = encodeError(doneButOf)
)

// refusalBytes is what an answer with one of these takes, besides its id.
var refusalBytes = max(len(encodeError(notDone)), len(encodedDone)) + len(`{"jsonrpc":"2.0","id":,"error":},`)

// batch collects the answers to a batch, to be sent as one array in the order
// of the requests.
type batch struct {
	mu      sync.Mutex
	missing int
	room    int  // for answers, in bytes, beyond a refusal for each
	full    bool // an answer had no room
	answers [][]byte
}

// newBatch counts what will be answered.
func newBatch(messages []message, limit int) *batch {
	b := &batch{room: limit, answers: make([][]byte, len(messages))}
	for i := range messages {
		if messages[i].wantsAnswer() {
			b.missing++
			b.room -= refusalBytes + len(messages[i].id)
		}
	}
	return b
}

// isFull says that nothing more of the batch is worth doing; false for nil.
func (b *batch) isFull() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.full
}

// add takes the answer to the message at an index and returns the whole array
// with the last one.
func (b *batch) add(index int, id json.RawMessage, answer []byte) (whole []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	extra := len(answer) + 1 - refusalBytes - len(id)
	if extra <= max(b.room, 0) { // a refusal would not be shorter
		b.room -= extra
	} else {
		b.full = true
		answer = appendError(nil, id, encodedDone)
	}
	b.answers[index] = answer
	if b.missing--; b.missing > 0 {
		return nil
	}
	return b.join()
}

// join makes the array of the answers there are.
func (b *batch) join() []byte {
	size := 2
	for _, answer := range b.answers {
		size += len(answer) + 1
	}
	whole := append(make([]byte, 0, size), '[')
	for _, answer := range b.answers {
		if answer == nil {
			continue // to a notification
		}
		if len(whole) > 1 {
			whole = append(whole, ',')
		}
		whole = append(whole, answer...)
	}
	return append(whole, ']')
}
