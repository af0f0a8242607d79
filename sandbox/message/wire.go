package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// MaxLine bounds a message in either direction, in bytes, without its end. A
// program that prints a longer line ends the conversation; a longer message is
// not sent.
const MaxLine = 1 << 20

// maxDepth bounds how deep an answer nests: what goes on to nodes and clients is
// read there with a bound too.
const maxDepth = 512

// methodNotFound is JSON-RPC's code of it.
const methodNotFound = -32601

// Error is the error object of an answer, as the program wrote it.
type Error struct {
	Code    int64           `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("the program answers: %s (code %d)", e.Message, e.Code)
}

// form is what a line turned out to be.
type form int

// The forms of a line.
const (
	noise        form = iota // no JSON-RPC 2.0
	answer                   // it has a result or an error
	request                  // it wants an answer
	notification             // it wants none
)

// incoming is one line of a program. Its parts are parts of the line.
type incoming struct {
	form   form
	id     []byte // JSON; nil: none
	method []byte // JSON
	result []byte // JSON; nil: none
	fault  []byte // JSON, the error object; nil: none
}

// parse reads a line.
func parse(line []byte) incoming {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' || !json.Valid(line) {
		return incoming{}
	}
	var m incoming
	version := false
	jsontext.EachMember(line, func(key, value []byte) {
		switch string(key) {
		case `"jsonrpc"`:
			version = string(value) == `"2.0"`
		case `"id"`:
			m.id = value
		case `"method"`:
			m.method = value
		case `"result"`:
			m.result = value
		case `"error"`:
			if m.fault = value; string(value) == "null" { // some write both, one of them null
				m.fault = nil
			}
		}
	})
	m.form = m.is(version)
	return m
}

func (m incoming) is(version bool) form {
	switch {
	case !version:
		return noise
	case m.method != nil && m.method[0] == '"' && m.id != nil:
		return request
	case m.method != nil && m.method[0] == '"':
		return notification
	case m.method == nil && m.id != nil && (m.result != nil || m.fault != nil):
		return answer
	}
	return noise
}

// number is the answer's id as we have given it; false if it is none of ours.
func (m incoming) number() (uint64, bool) {
	n, err := strconv.ParseUint(string(m.id), 10, 64)
	return n, err == nil
}

// outcome is what the answer says: a result of its own, not part of the line,
// or an error.
func (m incoming) outcome() (json.RawMessage, error) {
	said, what := m.result, "result"
	if m.fault != nil {
		said, what = m.fault, "error"
	}
	if jsontext.Depth(said) > maxDepth {
		return nil, errs.New(errs.Internal, "the program's answer nests deeper than %d: its %s was dropped", maxDepth, what)
	}
	if m.fault == nil {
		return bytes.Clone(m.result), nil
	}
	var e Error
	if m.fault[0] != '{' || json.Unmarshal(m.fault, &e) != nil {
		return nil, errs.New(errs.Internal, "the program answers with an error that is no JSON-RPC 2.0: %s", brief(m.fault))
	}
	return nil, &e
}

// brief is the beginning of a text.
func brief(text []byte) string {
	const enough = 200
	if len(text) <= enough {
		return string(text)
	}
	return string(bytes.ToValidUTF8(text[:enough], nil)) + " …"
}

// encode makes the line of a request; without an id, of a notification.
func encode(id uint64, method string, params json.RawMessage) ([]byte, error) {
	b := []byte(`{"jsonrpc":"2.0"`)
	if id > 0 {
		b = jsontext.AppendUint(b, `,"id":`, id)
	}
	b = jsontext.AppendString(append(b, `,"method":`...), method)
	if len(params) > 0 {
		var flat bytes.Buffer // a line break in it would end the message
		if err := json.Compact(&flat, params); err != nil {
			return nil, errs.Wrap(errs.BadParameter, err, "the params are no JSON")
		}
		b = append(append(b, `,"params":`...), flat.Bytes()...)
	}
	return line(append(b, '}'))
}

// refusal answers a request of the program's.
func refusal(id []byte) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"Glassbox answers no requests of programs"}}`+"\n", id, methodNotFound)
}

// line ends a message.
func line(text []byte) ([]byte, error) {
	if len(text) > MaxLine {
		return nil, errs.New(errs.TooLarge, "the message has %d bytes and may have %d: pass bulk in a file", len(text), MaxLine)
	}
	return append(text, '\n'), nil
}
