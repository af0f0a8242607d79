package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// faults collects what is wrong with a document.
type faults struct{ list []errs.Fault }

func (f *faults) add(at, format string, args ...any) {
	f.list = append(f.list, errs.Fault{Pointer: at, Message: fmt.Sprintf(format, args...)})
}

// err is the error that lists all faults; nil when there are none.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	texts := make([]string, len(f.list))
	for i, fault := range f.list {
		texts[i] = fault.Pointer + ": " + fault.Message
	}
	return errs.New(errs.BadSpec, "the spec has %d fault(s): %s", len(texts), strings.Join(texts, "; ")).WithFaults(f.list)
}

// pointer makes a JSON pointer (RFC 6901) of keys and indexes.
func pointer(parts ...any) string {
	var b strings.Builder
	for _, part := range parts {
		b.WriteByte('/')
		b.WriteString(escape.Replace(fmt.Sprint(part)))
	}
	return b.String()
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// field is one member of a JSON object, in the order of the document.
type field struct {
	name  string
	value json.RawMessage
}

// checkJSON says that the raw text is not one JSON value.
func checkJSON(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	var value any
	if err := d.Decode(&value); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more text after the value")
	}
	return nil
}

// object splits a JSON object into its members; false if it is none. The text
// is valid JSON.
func object(raw json.RawMessage) ([]field, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if token, _ := d.Token(); token != json.Delim('{') {
		return nil, false
	}
	var fields []field
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		fields = append(fields, field{name: name.(string), value: value})
	}
	return fields, true
}

// readers maps the name of a member to what takes its value.
type readers map[string]func(at string, raw json.RawMessage)

// members reads an object strictly: each member at most once and only known
// ones.
func (f *faults) members(at string, raw json.RawMessage, known readers) {
	fields, ok := object(raw)
	if !ok {
		f.add(at, "is %s, must be an object", kindOf(raw))
		return
	}
	seen := make(map[string]bool)
	for _, member := range fields {
		where := at + pointer(member.name)
		read := known[member.name]
		switch {
		case read == nil:
			f.add(where, "is not a field of a spec: remove it, or correct its name")
		case seen[member.name]:
			f.add(where, "is given twice")
		default:
			read(where, member.value)
		}
		seen[member.name] = true
	}
}

// into reads a value of a plain type.
func into[T any](f *faults, target *T, want string) func(string, json.RawMessage) {
	return func(at string, raw json.RawMessage) {
		if kindOf(raw) == "null" || json.Unmarshal(raw, target) != nil {
			f.add(at, "is %s, must be %s", kindOf(raw), want)
		}
	}
}

// texts reads an object whose values are all texts, each name given once.
func (f *faults) texts(target *map[string]string) func(string, json.RawMessage) {
	return func(at string, raw json.RawMessage) {
		fields, ok := object(raw)
		if !ok {
			f.add(at, "is %s, must be an object of texts", kindOf(raw))
			return
		}
		*target = make(map[string]string)
		for _, member := range fields {
			where := at + pointer(member.name)
			if _, twice := (*target)[member.name]; twice {
				f.add(where, "is given twice")
				continue
			}
			var text string
			into(f, &text, aText)(where, member.value)
			(*target)[member.name] = text
		}
	}
}

// each reads a list, element by element.
func (f *faults) each(read func(at string, raw json.RawMessage)) func(string, json.RawMessage) {
	return func(at string, raw json.RawMessage) {
		var list []json.RawMessage
		if kindOf(raw) != "a list" || json.Unmarshal(raw, &list) != nil {
			f.add(at, "is %s, must be a list", kindOf(raw))
			return
		}
		for i, element := range list {
			read(at+pointer(i), element)
		}
	}
}

// kindOf names the kind of a JSON value.
func kindOf(raw json.RawMessage) string {
	text := bytes.TrimSpace(raw)
	switch {
	case len(text) == 0 || text[0] == 'n':
		return "null"
	case text[0] == '{':
		return "an object"
	case text[0] == '[':
		return "a list"
	case text[0] == '"':
		return "a text"
	case text[0] == 't' || text[0] == 'f':
		return "a truth value"
	default:
		return "the number " + string(text)
	}
}
