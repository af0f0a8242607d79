package rpc

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsonscan"
)

// message is one request, notification or response. Ids, params and results
// stay as they were sent.
type message struct {
	id     json.RawMessage // nil: none was given
	method string          // "" for a response
	params json.RawMessage
	result json.RawMessage
	err    json.RawMessage // of a response; not nil if it failed
}

func (m *message) isResponse() bool { return m.method == "" }

// nullID is the id of an answer to what had none that could be read.
var nullID = json.RawMessage("null")

// parse checks that b is one JSON text and takes it apart. A batch is a list of
// elements, each to be decoded by [decode]; for a single message the list has
// one.
func parse(b []byte) (elements [][]byte, batch bool, err *errs.Error) {
	if !json.Valid(b) {
		return nil, false, errs.New(errs.ParseError, "the message is not valid JSON")
	}
	b = bytes.TrimSpace(b)
	if b[0] != '[' {
		return [][]byte{b}, false, nil
	}
	jsonscan.EachElement(b, func(element []byte) { elements = append(elements, element) })
	if len(elements) == 0 {
		return nil, true, errs.New(errs.InvalidRequest, "a batch has at least one message")
	}
	return elements, true, nil
}

// decode reads one message. On error the message's id is still what could be
// read of it, null otherwise.
func decode(b []byte) (message, *errs.Error) {
	m := message{}
	if b[0] != '{' {
		return message{id: nullID}, invalid("a message is an object")
	}
	var version, method []byte
	var twice []byte
	seen := 0
	jsonscan.EachMember(b, func(key, value []byte) {
		var slot *[]byte
		bit := 0
		switch string(key) {
		case `"jsonrpc"`:
			slot, bit = &version, 1
		case `"id"`:
			slot, bit = (*[]byte)(&m.id), 2
		case `"method"`:
			slot, bit = &method, 4
		case `"params"`:
			slot, bit = (*[]byte)(&m.params), 8
		case `"result"`:
			slot, bit = (*[]byte)(&m.result), 16
		case `"error"`:
			slot, bit = (*[]byte)(&m.err), 32
		default:
			return // the standard neither knows nor forbids others
		}
		if seen&bit != 0 {
			twice = key
		}
		seen |= bit
		*slot = value
	})
	if err := m.check(version, method, twice); err != nil {
		return message{id: m.answerID()}, err
	}
	return m, nil
}

func invalid(format string, args ...any) *errs.Error {
	return errs.New(errs.InvalidRequest, format+"; see the JSON-RPC 2.0 specification, section 4", args...)
}

func (m *message) check(version, method, twice []byte) *errs.Error {
	switch {
	case twice != nil:
		return invalid("the member %s is given twice", twice)
	case string(version) != `"2.0"`:
		return invalid(`the member "jsonrpc" must be "2.0"`)
	case m.id != nil && !validID(m.id):
		return invalid("an id is a string, a number or null")
	case method == nil && m.result == nil && m.err == nil:
		return invalid(`a request has a "method", a response a "result" or an "error"`)
	case method == nil:
		return m.checkResponse()
	case m.result != nil || m.err != nil:
		return invalid(`a message is a request or a response, not both`)
	case method[0] != '"' || len(method) == 2:
		return invalid(`the member "method" must be a string that is not empty`)
	case m.params != nil && m.params[0] != '{' && m.params[0] != '[':
		return invalid(`the member "params" must be an object or an array`)
	}
	return m.setMethod(method)
}

func (m *message) checkResponse() *errs.Error {
	switch {
	case m.id == nil:
		return invalid("a response has an id")
	case m.result != nil && m.err != nil:
		return invalid(`a response has a "result" or an "error", not both`)
	case m.err != nil && m.err[0] != '{':
		return invalid(`the member "error" must be an object`)
	}
	return nil
}

func (m *message) setMethod(quoted []byte) *errs.Error {
	if bytes.IndexByte(quoted, '\\') < 0 {
		m.method = string(quoted[1 : len(quoted)-1])
		return nil
	}
	if err := json.Unmarshal(quoted, &m.method); err != nil {
		return invalid(`the member "method" cannot be read: %s`, err)
	}
	return nil
}

// validID tells scalars from the rest; true and false are no ids.
func validID(id []byte) bool {
	return id[0] == '"' || id[0] == '-' || id[0] >= '0' && id[0] <= '9' || id[0] == 'n'
}

// answerID is the id that an error about this message is answered with.
func (m *message) answerID() json.RawMessage {
	if m.id == nil || !validID(m.id) {
		return nullID
	}
	return m.id
}

// wireError is an error as JSON-RPC writes it.
type wireError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func encodeError(err error) json.RawMessage {
	p := errs.ProblemOf(err)
	data, marshalErr := json.Marshal(p)
	if marshalErr != nil { // a problem is strings and numbers
		data = nil
	}
	raw, _ := json.Marshal(wireError{Code: p.Kind.Property().Code, Message: p.Title, Data: data})
	return raw
}

// decodeError is the reverse: it trusts the problem object if there is one, the
// code if there is not.
func decodeError(raw json.RawMessage) *errs.Error {
	var w wireError
	if err := json.Unmarshal(raw, &w); err != nil {
		return errs.Wrap(errs.Internal, err, "the peer answered with an error that cannot be read")
	}
	var p errs.Problem
	if json.Unmarshal(w.Data, &p) == nil && p.Kind != "" {
		return p.Err()
	}
	return errs.New(errs.KindOfCode(w.Code), "%s (code %d)", w.Message, w.Code)
}

func appendRequest(b []byte, id uint64, hasID bool, method string, params json.RawMessage) []byte {
	b = append(b, `{"jsonrpc":"2.0"`...)
	if hasID {
		b = strconv.AppendUint(append(b, `,"id":`...), id, 10)
	}
	b = appendQuoted(append(b, `,"method":`...), method)
	if params != nil {
		b = appendLine(append(b, `,"params":`...), params)
	}
	return append(b, '}')
}

func appendResult(b []byte, id, result json.RawMessage) []byte {
	if result == nil {
		result = nullID
	}
	b = append(append(b, `{"jsonrpc":"2.0","id":`...), id...)
	return append(appendLine(append(b, `,"result":`...), result), '}')
}

func appendError(b []byte, id, err json.RawMessage) []byte {
	b = append(append(b, `{"jsonrpc":"2.0","id":`...), id...)
	return append(append(append(b, `,"error":`...), err...), '}')
}

func appendQuoted(b []byte, s string) []byte {
	raw, _ := json.Marshal(s) // a string always marshals
	return append(b, raw...)
}

// appendLine appends a JSON text that may have been written over several
// lines; framing by lines needs it on one.
func appendLine(b []byte, raw json.RawMessage) []byte {
	if bytes.IndexByte(raw, '\n') < 0 {
		return append(b, raw...)
	}
	compact := bytes.NewBuffer(b)
	if err := json.Compact(compact, raw); err != nil {
		return append(b, "null"...) // no JSON at all; never from our own code
	}
	return compact.Bytes()
}

// encode turns a handler's result or a caller's params into JSON. A
// json.RawMessage is taken as it is.
func encode(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		return v, nil
	default:
		return json.Marshal(v)
	}
}
