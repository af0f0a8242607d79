// Package demo is the sandbox built into the binary: two small programs that
// speak JSON-RPC 2.0, a message a line, on their standard input and output, and
// the spec that runs them. Their standard error is their log.
//
//	glassbox demo counter    get; increment {"by": 1}; crash
//	glassbox demo printer    print {"text": …}
//
// By hand: echo '{"jsonrpc":"2.0","id":1,"method":"increment"}' | glassbox demo counter
package demo

import (
	"errors"
	"fmt"
	"io"

	"github.com/glassbox-dev/glassbox/sandbox"
)

// ErrCrash is what a counter ends with that was asked to crash.
var ErrCrash = errors.New("crashing, as asked")

// Counter holds a number until its input ends.
func Counter(in io.Reader, out, log io.Writer) error {
	count := int64(0)
	say := func() { fmt.Fprintf(log, "count is %d\n", count) }
	say()
	return serve(in, out, map[string]method{
		"get": func(params) (any, error) { return count, nil },
		"increment": func(p params) (any, error) {
			by := struct {
				By int64 `json:"by"`
			}{1}
			if err := p.into(&by); err != nil {
				return nil, err
			}
			count += by.By
			say()
			return count, nil
		},
		"crash": func(params) (any, error) { return nil, ErrCrash },
	})
}

// Printer prints texts to its log until its input ends.
func Printer(in io.Reader, out, log io.Writer) error {
	printed := 0
	fmt.Fprintln(log, "ready to print")
	return serve(in, out, map[string]method{
		"print": func(p params) (any, error) {
			var line struct {
				Text *string `json:"text"`
			}
			if err := p.into(&line); err != nil {
				return nil, err
			}
			if line.Text == nil {
				return nil, &fault{invalidParams, `give {"text": …}`}
			}
			printed++
			_, err := fmt.Fprintln(log, *line.Text)
			return printed, err
		},
	})
}

// Spec is the demo sandbox; exe is the absolute path of the glassbox binary.
func Spec(exe string) sandbox.Spec {
	child := func(name string) sandbox.Child {
		return sandbox.Child{
			ID: name, Run: &sandbox.Run{Exec: []string{exe, "demo", name}}, Name: "demo/" + name, Protocol: sandbox.ProtocolJSONRPC,
		}
	}
	return sandbox.Spec{
		ID:       "demo",
		Labels:   map[string]string{"demo": "true"},
		Children: []sandbox.Child{child("counter"), child("printer")},
	}
}
