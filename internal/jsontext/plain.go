package jsontext

import (
	"encoding/json"
	"math"
	"strconv"
)

// What nodes send each other most is written and read here without reflection:
// text of the one form that our own writer gives it. Whoever reads with a
// [Reader] falls back to encoding/json when that fails, so that nothing depends
// on the form.

// plain reports whether a string stands for itself: ASCII without escapes.
func plain[T string | []byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// AppendString appends a string as [Marshal] writes it.
func AppendString(b []byte, s string) []byte {
	if plain(s) {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	raw, _ := Marshal(s) // a string always marshals
	return append(b, raw...)
}

// AppendUint appends a member's text up to its value, and a number.
func AppendUint(b []byte, before string, n uint64) []byte {
	return strconv.AppendUint(append(b, before...), n, 10)
}

// PlainString returns the content of a string that is valid JSON and stands for
// itself; ok is false for any other.
func PlainString(quoted []byte) (s string, ok bool) {
	if len(quoted) < 2 || quoted[0] != '"' || !plain(quoted[1:len(quoted)-1]) {
		return "", false
	}
	return string(quoted[1 : len(quoted)-1]), true
}

// Reader reads text of one exact form. What it meets need not be valid JSON:
// anything but that form makes it fail, and then all it returns is zero.
type Reader struct {
	b      []byte
	failed bool
}

// NewReader returns a reader of b, of which what it returns may be a part.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

func (r *Reader) fail() {
	r.failed, r.b = true, nil
}

// Has reads a text if it is next.
func (r *Reader) Has(text string) bool {
	if len(r.b) < len(text) || string(r.b[:len(text)]) != text {
		return false
	}
	r.b = r.b[len(text):]
	return true
}

// Want reads a text that must be next.
func (r *Reader) Want(text string) {
	if !r.Has(text) {
		r.fail()
	}
}

// Text reads a string that stands for itself and returns its content, a part of
// what is read.
func (r *Reader) Text() []byte {
	if len(r.b) == 0 || r.b[0] != '"' {
		r.fail()
		return nil
	}
	for i := 1; i < len(r.b); i++ {
		switch c := r.b[i]; {
		case c == '"':
			text := r.b[1:i]
			r.b = r.b[i+1:]
			return text
		case c < ' ' || c >= 0x7f || c == '\\':
			r.fail()
			return nil
		}
	}
	r.fail()
	return nil
}

// Uint reads a number of digits only.
func (r *Reader) Uint() (n uint64) {
	i := 0
	for ; i < len(r.b) && r.b[i] >= '0' && r.b[i] <= '9'; i++ {
		digit := uint64(r.b[i] - '0')
		if n > (math.MaxUint64-digit)/10 {
			r.fail()
			return 0
		}
		n = n*10 + digit
	}
	if i == 0 || i > 1 && r.b[0] == '0' {
		r.fail()
		return 0
	}
	r.b = r.b[i:]
	return n
}

// Value reads any value and returns it, a part of what is read. It finds its end,
// and does not look whether it is valid.
func (r *Reader) Value() []byte {
	end := valueEnd(r.b)
	if end <= 0 {
		r.fail()
		return nil
	}
	value := r.b[:end:end]
	r.b = r.b[end:]
	return value
}

// Valid reads a value that is valid JSON.
func (r *Reader) Valid() []byte {
	value := r.Value()
	if !r.failed && !json.Valid(value) {
		r.fail()
		return nil
	}
	return value
}

// OK reports whether everything was read, and was of the form wanted.
func (r *Reader) OK() bool { return !r.failed && len(r.b) == 0 }

// Failed reports whether it was not.
func (r *Reader) Failed() bool { return r.failed }

// valueEnd returns the index behind the value at the beginning of b, 0 if there
// is none or it does not end.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if i >= len(b) {
				return 0
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	if depth > 0 {
		return 0
	}
	return len(b)
}
