// Package jsontext writes JSON as it is, and walks JSON that is already known to
// be valid: json.Valid has checked it once, so the scanner only has to find
// where values end. Decoding a message with encoding/json would look at every
// byte of its payload several times more, once a layer. On anything else than
// valid JSON the scanner may panic.
package jsontext

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// SkipSpace returns the index of the first byte from i on that is no white
// space.
func SkipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins at i.
func skipString(b []byte, i int) int {
	for end := i + 1; ; end++ {
		end += bytes.IndexByte(b[end:], '"')
		escapes := end
		for b[escapes-1] == '\\' && escapes-1 > i {
			escapes--
		}
		if (end-escapes)%2 == 0 {
			return end + 1
		}
	}
}

// skipValue returns the index behind the value that begins at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] > ' ' {
		i++
	}
	return i
}

func skipNested(b []byte, i int) int {
	for depth := 0; ; i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// EachMember calls f with each member of an object, the key with its quotes.
// Both are parts of b.
func EachMember(b []byte, f func(key, value []byte)) {
	for i := SkipSpace(b, 0) + 1; ; {
		if i = SkipSpace(b, i); b[i] == '}' {
			return
		}
		keyEnd := skipString(b, i)
		key := b[i:keyEnd]
		from := SkipSpace(b, SkipSpace(b, keyEnd)+1) // behind the colon
		to := skipValue(b, from)
		f(key, b[from:to])
		if i = SkipSpace(b, to); b[i] == ',' {
			i++
		}
	}
}

// EachElement calls f with each element of an array, a part of b.
func EachElement(b []byte, f func(value []byte)) {
	for i := SkipSpace(b, 0) + 1; ; {
		if i = SkipSpace(b, i); b[i] == ']' {
			return
		}
		to := skipValue(b, i)
		f(b[i:to])
		if i = SkipSpace(b, to); b[i] == ',' {
			i++
		}
	}
}

// Depth returns how deep arrays and objects nest in a value: 0 is neither.
func Depth(b []byte) int {
	deepest, now := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			now++
			deepest = max(deepest, now)
		case '}', ']':
			now--
		}
	}
	return deepest
}

// Unquote returns a string's content.
func Unquote(quoted []byte) string {
	for _, c := range quoted {
		if c == '\\' || c >= 0x80 {
			var s string
			_ = json.Unmarshal(quoted, &s) // it is valid
			return s
		}
	}
	return string(quoted[1 : len(quoted)-1])
}

// Whole reports whether a string says which text it is: it is UTF-8, and has no
// half of a surrogate pair. encoding/json reads each of those as U+FFFD, silently.
func Whole(quoted []byte) bool {
	if !utf8.Valid(quoted) {
		return false
	}
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		if i++; quoted[i] != 'u' {
			continue
		}
		r := hex4(quoted[i+1:])
		if i += 4; !utf16.IsSurrogate(r) {
			continue
		}
		rest := quoted[i+1:]
		if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' || utf16.DecodeRune(r, hex4(rest[2:])) == utf8.RuneError {
			return false
		}
		i += 6
	}
	return true
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[:4]), 16, 16) // it is valid
	return rune(n)
}

// Marshal is json.Marshal without the escapes that make JSON safe inside HTML:
// they turn one byte into six, and what is sent to programs and nodes is
// bounded in bytes.
func Marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}
