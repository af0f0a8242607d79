package rpc

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// maxDepth is how deep encoding/json lets arrays and objects nest.
const maxDepth = 10_000

// CheckJSON says why b is not one JSON text in UTF-8 (RFC 8259), nil if it is.
func CheckJSON(b []byte) *errs.Error {
	switch {
	case !utf8.Valid(b): // encoding/json would replace what is not, silently
		return errs.New(errs.ParseError, "the text is not UTF-8, as JSON must be (RFC 8259, section 8.1)")
	case json.Valid(b):
		return nil
	case depth(b) > maxDepth:
		return errs.New(errs.ParseError, "the JSON is nested deeper than %d levels; make it flatter", maxDepth)
	default:
		return errs.New(errs.ParseError, "the text is not valid JSON")
	}
}

// depth returns how deep brackets nest in b, which need not be valid.
func depth(b []byte) int {
	deepest, now := 0, 0
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
}
