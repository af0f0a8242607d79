package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// maxGarbage is how many messages in a row may be no JSON before the peer is
// taken for something that does not speak JSON-RPC at all.
const maxGarbage = 8

// framer reads messages and writes batches of lines.
type framer interface {
	ReadMessage() ([]byte, error)
	Close() error
}

// stream is the jsonrpc2.ObjectStream between the library and the wire. The
// library is only ever shown envelopes without payload and with private integer
// ids: payloads, and the peer's ids whatever they look like, pass beside it,
// through the hooks OnRecv and OnSend, which the library calls right before
// handling and right before writing.
type stream struct {
	in  framer
	out *queue

	// Of the reading goroutine alone.
	waiting [][]byte // rest of the batch being read
	batch   *batch   // that batch; nil for single messages
	current message  // handed from ReadObject to received
	garbage int

	// Of the library's writing lock.
	request  *jsonrpc2.Request
	response *jsonrpc2.Response

	mu   sync.Mutex
	last uint64
	open map[uint64]asked // requests of the peer not answered yet
	err  error            // why reading ended
}

// asked is a request of the peer: the id it gave, and the batch it came in.
type asked struct {
	id    json.RawMessage
	batch *batch
}

// ReadObject reads the next request or response, answering by itself whatever
// is neither.
func (s *stream) ReadObject(v any) error {
	for {
		raw, err := s.next()
		if err != nil {
			return s.failed(err)
		}
		m, bad := decode(raw)
		if bad != nil {
			s.answer(s.batch, appendError(nil, m.id, encodeError(bad)))
			continue
		}
		envelope, ok := s.envelope(&m)
		if !ok {
			continue
		}
		s.current = m
		return json.Unmarshal(envelope, v)
	}
}

func (s *stream) failed(err error) error {
	var e *errs.Error
	if errors.As(err, &e) {
		_ = s.out.add(func(b []byte) []byte { return appendError(b, nullID, encodeError(e)) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	return io.EOF // the library logs all others, we do that
}

// next returns the next element of the batch being read, or of a new message.
func (s *stream) next() ([]byte, error) {
	for len(s.waiting) == 0 {
		raw, err := s.in.ReadMessage()
		if err != nil {
			return nil, err
		}
		elements, isBatch, bad := parse(raw)
		if bad != nil {
			if s.garbage++; s.garbage > maxGarbage || isHTTP(raw) {
				return nil, errs.New(errs.ParseError, "%d messages in a row were no JSON; this port speaks JSON-RPC 2.0, one message a line, and no HTTP", s.garbage)
			}
			s.answer(nil, appendError(nil, nullID, encodeError(bad)))
			continue
		}
		s.garbage, s.waiting, s.batch = 0, elements, nil
		if isBatch {
			s.batch = newBatch(elements)
		}
	}
	raw := s.waiting[0]
	s.waiting = s.waiting[1:]
	return raw, nil
}

// isHTTP recognises the first line of an HTTP request (RFC 9112, section 3). A
// web page can make a browser post to this port, with JSON-RPC as the body: the
// connection must end before that is read.
func isHTTP(line []byte) bool {
	fields := bytes.Fields(line)
	return len(fields) == 3 && bytes.HasPrefix(fields[2], []byte("HTTP/"))
}

// envelope is what the library gets to see of a message; false if it is a
// response to nothing.
func (s *stream) envelope(m *message) ([]byte, bool) {
	if m.isResponse() {
		id, err := strconv.ParseUint(string(m.id), 10, 64)
		if err != nil {
			return nil, false // null: the peer could not read something we sent; no call to give it to
		}
		return append(strconv.AppendUint([]byte(`{"jsonrpc":"2.0","result":null,"id":`), id, 10), '}'), true
	}
	if m.id == nil {
		return []byte(`{"jsonrpc":"2.0","method":"m"}`), true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.open[s.last] = asked{m.id, s.batch}
	return append(strconv.AppendUint([]byte(`{"jsonrpc":"2.0","method":"m","id":`), s.last, 10), '}'), true
}

// received puts back what the library did not see. It is the hook OnRecv.
func (s *stream) received(req *jsonrpc2.Request, resp *jsonrpc2.Response) {
	if resp == nil {
		req.Method = s.current.method
		req.Params = nil
		if s.current.params != nil {
			req.Params = &s.current.params
		}
		return
	}
	if c := callOf(req); c != nil {
		c.result, c.failure = s.current.result, s.current.err
		c.answered()
	}
}

// sending notes what is about to be written. It is the hook OnSend.
func (s *stream) sending(req *jsonrpc2.Request, resp *jsonrpc2.Response) {
	s.request, s.response = req, resp
	if c := callOf(req); c != nil && !req.Notif {
		c.id.Store(req.ID.Num)
	}
}

// WriteObject queues what the hook noted.
func (s *stream) WriteObject(any) error {
	if req := s.request; req != nil {
		c := callOf(req)
		return s.out.add(func(b []byte) []byte {
			return appendRequest(b, req.ID.Num, !req.Notif, req.Method, c.params)
		})
	}
	resp := s.response
	s.mu.Lock()
	a, ok := s.open[resp.ID.Num]
	delete(s.open, resp.ID.Num)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	if a.batch == nil {
		return s.out.add(func(b []byte) []byte { return appendResponse(b, a.id, resp) })
	}
	s.answer(a.batch, appendResponse(nil, a.id, resp))
	return nil
}

func appendResponse(b []byte, id json.RawMessage, resp *jsonrpc2.Response) []byte {
	if resp.Error != nil {
		return appendError(b, id, *resp.Error.Data) // put there whole by reply
	}
	return appendResult(b, id, *resp.Result)
}

// answer sends an answer, by itself or with the rest of its batch.
func (s *stream) answer(b *batch, answer []byte) {
	if b != nil {
		if answer = b.add(answer); answer == nil {
			return
		}
	}
	// A closed queue is a closing connection: the answer has nowhere to go.
	_ = s.out.add(func(buf []byte) []byte { return append(buf, answer...) })
}

// Close ends both directions; what is queued is still sent.
func (s *stream) Close() error {
	s.out.close()
	return nil
}
