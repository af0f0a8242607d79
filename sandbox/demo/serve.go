package demo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Codes of JSON-RPC 2.0.
const (
	parseError     = -32700
	invalidRequest = -32600
	methodNotFound = -32601
	invalidParams  = -32602
)

// maxLine bounds a message, in bytes.
const maxLine = 1 << 20

// fault is an error that the caller is told; any other ends the program.
type fault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (f *fault) Error() string { return f.Message }

// params are what a method was given; nil is nothing.
type params json.RawMessage

// into reads them strictly; what is not given is left as it is.
func (p params) into(target any) error {
	if len(p) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(target); err != nil {
		return &fault{invalidParams, err.Error()}
	}
	return nil
}

// method answers a call.
type method func(params) (any, error)

// call is a message as it comes.
type call struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

// answer is a message as it goes.
type answer struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *fault          `json:"error,omitempty"`
}

// serve answers calls, one after the other, until the input ends or a method
// ends the program with its error.
func serve(in io.Reader, out io.Writer, methods map[string]method) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		id, result, err := handle(lines.Bytes(), methods)
		var refused *fault
		if err != nil && !errors.As(err, &refused) {
			return err
		}
		if id == nil {
			continue // a notification
		}
		if err := json.NewEncoder(out).Encode(answer{"2.0", id, result, refused}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// handle does what a line asks for. The id is nil where no answer is wanted.
func handle(line []byte, methods map[string]method) (id json.RawMessage, result any, err error) {
	var c call
	if err := json.Unmarshal(line, &c); err != nil {
		return json.RawMessage("null"), nil, &fault{parseError, err.Error()}
	}
	if c.Version != "2.0" || c.Method == "" {
		return json.RawMessage("null"), nil, &fault{invalidRequest, `no JSON-RPC 2.0: give {"jsonrpc":"2.0","id":1,"method":…}`}
	}
	run := methods[c.Method]
	if run == nil {
		return c.ID, nil, &fault{methodNotFound, "no method " + c.Method}
	}
	result, err = run(params(c.Params))
	return c.ID, result, err
}
