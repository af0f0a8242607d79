package rpc

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// message is one request, notification or response. Ids, params and results
// stay as they were sent.
type message struct {
	id     json.RawMessage // nil: none was given
	method string          // "" for a response
	params json.RawMessage
	result json.RawMessage
	err    json.RawMessage // of a response; not nil if it failed
	bad    *errs.Error     // why it is none of these; then only id is given, null if it could not be read
}

func (m *message) isResponse() bool { return m.method == "" && m.bad == nil }

func (m *message) wantsAnswer() bool { return m.bad != nil || m.id != nil && !m.isResponse() }

// nullID is the id of an answer to what had none that could be read.
var nullID = json.RawMessage("null")

// The members of a message, as bits of a set.
const (
	versionMember = 1 << iota
	idMember
	methodMember
	paramsMember
	resultMember
	errorMember
)

// memberOf recognises a member by its name with the quotes; 0 for any other,
// which the standard neither knows nor forbids.
func memberOf(key []byte) int {
	member := plainMember(key)
	if member != 0 || bytes.IndexByte(key, '\\') < 0 {
		return member
	}
	return plainMember([]byte(`"` + jsontext.Unquote(key) + `"`)) // spelled with escapes, like "m\u0065thod"
}

func plainMember(key []byte) int {
	switch string(key) {
	case `"jsonrpc"`:
		return versionMember
	case `"id"`:
		return idMember
	case `"method"`:
		return methodMember
	case `"params"`:
		return paramsMember
	case `"result"`:
		return resultMember
	case `"error"`:
		return errorMember
	}
	return 0
}

// decode reads one message, known to be valid JSON.
func decode(b []byte) message {
	if b[0] != '{' {
		return message{id: nullID, bad: invalid("a message is an object")}
	}
	m := message{}
	var version, method, twice []byte
	seen := 0
	jsontext.EachMember(b, func(key, value []byte) {
		member := memberOf(key)
		if seen&member != 0 {
			twice = key
		}
		seen |= member
		switch member {
		case versionMember:
			version = value
		case idMember:
			m.id = value
		case methodMember:
			method = value
		case paramsMember:
			m.params = value
		case resultMember:
			m.result = value
		case errorMember:
			m.err = value
		}
	})
	if err := m.check(version, method, twice); err != nil {
		return message{id: m.answerID(), bad: err}
	}
	return m
}

func invalid(format string, args ...any) *errs.Error {
	return errs.New(errs.InvalidRequest, format+"; see the JSON-RPC 2.0 specification, section 4", args...)
}

func (m *message) check(version, method, twice []byte) *errs.Error {
	switch {
	case twice != nil:
		return invalid("the member %s is given twice", twice)
	case !isVersion(version):
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

func isVersion(value []byte) bool {
	return string(value) == `"2.0"` || len(value) > 0 && value[0] == '"' && jsontext.Unquote(value) == "2.0"
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
	data, marshalErr := jsontext.Marshal(p)
	if marshalErr != nil { // a problem is strings and numbers
		data = nil
	}
	raw, _ := jsontext.Marshal(wireError{Code: p.Kind.Property().Code, Message: p.Title, Data: data})
	return raw
}

// maxErrorText is what is left of an error that does not fit a message: it may
// quote what it is about.
const maxErrorText = 1 << 10

func encodeErrorWithin(err error, limit int) json.RawMessage {
	raw := encodeError(err)
	if len(raw) <= limit {
		return raw
	}
	e := *errs.From(err)
	e.Message = e.Message[:min(len(e.Message), maxErrorText)] + " …"
	e.Why, e.Param, e.Faults = "", "", nil
	return encodeError(&e)
}

// decodeError is the reverse: it trusts the problem object if there is one, the
// code if there is not.
func decodeError(raw json.RawMessage) *errs.Error {
	var w wireError
	if err := json.Unmarshal(raw, &w); err != nil {
		return errs.Wrap(errs.Internal, err, "the peer answered with an error that cannot be read")
	}
	var p errs.Problem
	e := errs.New(errs.KindOfCode(w.Code), "%s (code %d)", w.Message, w.Code)
	if json.Unmarshal(w.Data, &p) == nil && p.Kind != "" {
		e = p.Err()
	}
	e.Remote = true
	return e
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
	raw, _ := jsontext.Marshal(s) // a string always marshals
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
		return jsontext.Marshal(v)
	}
}
