package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// maxGarbage is how many messages in a row may be no JSON before the peer is
// taken for something that does not speak JSON-RPC at all.
const maxGarbage = 8

// framer reads messages, and writes lines of messages: a piece at a time, of
// which it returns the length.
type framer interface {
	ReadMessage() ([]byte, error)
	write(lines []byte, deadline time.Time) (n int, err error)
	Close() error
}

// stream is the jsonrpc2.ObjectStream between the library and the wire. The
// library is only ever shown envelopes without payload: payloads, and the
// peer's ids whatever they look like, pass beside it, through the hooks OnRecv
// and OnSend, which the library calls right before handling and right before
// writing. Answers to the peer do not pass through it at all: it would hold a
// lock while they wait for room.
type stream struct {
	in       framer
	out      *queue
	limit    int // of a batch's answers, in bytes
	messages atomic.Int64

	// Of the reading goroutine alone.
	waiting []message // rest of the batch being read
	batch   *batch    // that batch
	current incoming  // handed from ReadObject to the handler
	garbage int

	request *jsonrpc2.Request // of the library's writing lock

	mu    sync.Mutex
	err   error         // why reading ended
	ended chan struct{} // closed when it has, and nothing is handled any more
}

// incoming is a message of the peer, and the batch it came in.
type incoming struct {
	message
	batch *batch // nil for a single message
	index int    // in the batch
}

func newStream(in framer, out *queue, limit int) *stream {
	return &stream{in: in, out: out, limit: limit, ended: make(chan struct{})}
}

// ReadObject reads the next request or response, answering by itself whatever
// is neither.
func (s *stream) ReadObject(v any) error {
	for {
		in, err := s.next()
		if err != nil {
			return s.failed(err)
		}
		if in.bad != nil {
			s.answer(&in, true, nil, encodeError(in.bad))
			continue
		}
		if envelope := envelopeOf(&in); envelope != nil {
			s.current = in
			return json.Unmarshal(envelope, v)
		}
	}
}

// failed ends the reading. It is the last thing that the reading goroutine does
// here.
func (s *stream) failed(err error) error {
	var e *errs.Error
	if errors.As(err, &e) {
		s.tell(e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	close(s.ended)
	return io.EOF // the library logs all others, we do that
}

// readError returns why reading ended, nil if it has not.
func (s *stream) readError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// tell sends an error that answers nothing in particular, if there is room.
func (s *stream) tell(err error) {
	raw := encodeError(err)
	_ = s.out.add(len(raw), true, func(b []byte) []byte { return appendError(b, nullID, raw) }) // the connection is about to close
}

// next returns the next message, from the batch being read or a new one.
func (s *stream) next() (incoming, error) {
	for len(s.waiting) == 0 {
		raw, err := s.in.ReadMessage()
		if err != nil {
			return incoming{}, err
		}
		s.messages.Add(1)
		if bad := CheckJSON(raw); bad != nil {
			if s.garbage++; s.garbage > maxGarbage || isHTTP(raw) {
				return incoming{}, errs.New(errs.ParseError, "%d messages in a row were no JSON; this port speaks JSON-RPC 2.0, one message a line, and no HTTP", s.garbage)
			}
			return unread(raw, bad), nil
		}
		s.garbage = 0
		if raw = bytes.TrimSpace(raw); raw[0] != '[' {
			return incoming{message: decode(raw)}, nil
		}
		messages, bad := split(raw)
		if bad != nil {
			return refused(bad), nil
		}
		s.waiting, s.batch = messages, newBatch(messages, s.limit)
	}
	in := incoming{s.waiting[0], s.batch, len(s.batch.answers) - len(s.waiting)}
	if s.waiting = s.waiting[1:]; len(s.waiting) == 0 {
		s.waiting, s.batch = nil, nil // an idle connection holds nothing
	}
	return in, nil
}

// refused is a whole message that is answered with an error.
func refused(why *errs.Error) incoming { return incoming{message: message{id: nullID, bad: why}} }

// unread is a message that is no JSON this side can read, nested too deep, say. If
// it begins as those of this package do, whoever waits for its answer is told at
// once, instead of waiting until the time is over: the peer for a request, the call
// here for an answer.
func unread(raw []byte, why *errs.Error) incoming {
	id, rest := beginning(raw)
	switch {
	case bytes.HasPrefix(rest, []byte(`,"method":`)):
		return incoming{message: message{id: id, bad: why}}
	case bytes.HasPrefix(rest, []byte(`,"result":`)), bytes.HasPrefix(rest, []byte(`,"error":`)):
		// What was asked was done, for all that is known.
		unsure := errs.Error{Kind: why.Kind, Unsure: true, Message: "the answer cannot be read: " + why.Message}
		return incoming{message: message{id: id, err: encodeError(&unsure)}}
	default:
		return refused(why)
	}
}

// beginning returns the number that a message of this package has as its id, and
// what follows that.
func beginning(raw []byte) (id json.RawMessage, rest []byte) {
	rest, ours := bytes.CutPrefix(raw, []byte(`{"jsonrpc":"2.0","id":`))
	n := 0
	for ours && n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	if n == 0 {
		return nullID, nil
	}
	return json.RawMessage(rest[:n]), rest[n:]
}

// isHTTP recognises the first line of an HTTP request (RFC 9112, section 3). A
// web page can make a browser post to this port, with JSON-RPC as the body: the
// connection must end before that is read.
func isHTTP(line []byte) bool {
	fields := bytes.Fields(line)
	return len(fields) == 3 && bytes.HasPrefix(fields[2], []byte("HTTP/"))
}

// requestEnvelope is what the library sees of any request: the least that it
// takes for one, since it looks at each byte several times. The answer goes by
// [incoming].
var requestEnvelope = []byte(`{"method":""}`)

// envelopeOf is what the library gets to see of a message; nil if it is a
// response to nothing.
func envelopeOf(in *incoming) []byte {
	if !in.isResponse() {
		return requestEnvelope
	}
	id, err := strconv.ParseUint(string(in.id), 10, 64)
	if err != nil {
		return nil // null: the peer could not read something we sent; no call to give it to
	}
	return append(strconv.AppendUint([]byte(`{"result":null,"id":`), id, 10), '}')
}

// received gives a call its answer, which the library did not see. It is the
// hook OnRecv.
func (s *stream) received(req *jsonrpc2.Request, resp *jsonrpc2.Response) {
	if resp == nil {
		return
	}
	if c := callOf(req); c != nil {
		c.result, c.failure = s.current.result, s.current.err
		c.answered()
	}
}

// sending notes what is about to be written. It is the hook OnSend.
func (s *stream) sending(req *jsonrpc2.Request, _ *jsonrpc2.Response) {
	s.request = req
	if c := callOf(req); c != nil && !req.Notif {
		c.id.Store(req.ID.Num)
	}
}

// WriteObject queues the request that the hook noted, or refuses it.
func (s *stream) WriteObject(any) error {
	req := s.request
	c := callOf(req)
	n := len(req.Method) + len(c.params)
	return s.out.add(n, n <= smallMessage && !c.bulk, func(b []byte) []byte {
		return appendRequest(b, req.ID.Num, !req.Notif, req.Method, c.params)
	})
}

// answer sends the answer to a message, by itself or with the rest of its batch.
// It waits for room; urgent is for the reading goroutine, which should not, as
// two peers that both wait for the other to read would wait for ever.
func (s *stream) answer(in *incoming, urgent bool, result, failure json.RawMessage) {
	n := len(in.id) + len(result) + len(failure)
	build := func(b []byte) []byte {
		if failure != nil {
			return appendError(b, in.id, failure)
		}
		return appendResult(b, in.id, result)
	}
	if in.batch != nil {
		whole := in.batch.add(in.index, in.id, build(nil))
		if whole == nil {
			return
		}
		n, build = len(whole), func(b []byte) []byte { return append(b, whole...) }
	}
	// A closed queue is a closing connection: the answer has nowhere to go.
	_ = s.out.answer(n, urgent || n <= smallMessage, build)
}

// Close is called by the library; the connection closes the queue when it has
// done lingering.
func (s *stream) Close() error { return nil }
