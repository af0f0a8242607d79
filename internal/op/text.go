package op

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// FromText turns one parameter written as text (in a path, a query or on the
// command line) into JSON, by the parameter's type: a number stays a number, a
// string is quoted, a list is separated by commas or given repeatedly,
// anything else must be JSON already. A parameter that the operation does not
// know is refused.
func (o *Op) FromText(name string, values []string) (json.RawMessage, error) {
	t := reflect.TypeFor[string]()
	switch f := o.in.field(name); {
	case f != nil:
		t = f.Type
	case name == nodeParam:
	case name == timeoutParam:
		t = reflect.TypeFor[int64]()
	default:
		return nil, errs.BadParam(name, "unknown; known are: %s", o.in.names())
	}
	if t.Kind() == reflect.Slice && t != reflect.TypeFor[json.RawMessage]() {
		return listFromText(name, t.Elem(), values)
	}
	if len(values) != 1 {
		return nil, errs.BadParam(name, "given %d times; give it once", len(values))
	}
	return fromText(name, t, values[0])
}

func listFromText(name string, elem reflect.Type, values []string) (json.RawMessage, error) {
	items := []json.RawMessage{}
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			item, err := fromText(name, elem, part)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
	}
	return jsontext.Marshal(items)
}

func fromText(name string, t reflect.Type, text string) (json.RawMessage, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		if !utf8.ValidString(text) { // encoding/json would replace what is not, silently
			return nil, errs.BadParam(name, "must be UTF-8, and %q is not", text)
		}
		return jsontext.AppendString(nil, text), nil
	case reflect.Bool:
		if text == "" { // "?follow" alone means yes
			text = "true"
		}
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errs.BadParam(name, "must be true or false, not %q", text)
		}
		return jsontext.Marshal(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errs.BadParam(name, "must be an integer, not %q", text)
		}
		return jsontext.Marshal(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, errs.BadParam(name, "must be an integer of at least 0, not %q", text)
		}
		return jsontext.Marshal(n)
	default:
		switch {
		case json.Valid([]byte(text)) && utf8.ValidString(text):
			return json.RawMessage(text), nil
		case t == reflect.TypeFor[json.RawMessage]():
			return nil, errs.BadParam(name, "must be JSON, and %s is not; a string is written with its quotes: %s", excerpt(text), quoted(text))
		default:
			return nil, errs.BadParam(name, "must be JSON, not %s", excerpt(text))
		}
	}
}

// excerptBytes is how much of a text an error repeats.
const excerptBytes = 60

func excerpt(text string) string {
	if len(text) > excerptBytes {
		return strconv.Quote(text[:excerptBytes]) + "…"
	}
	return strconv.Quote(text)
}

// quoted shows how a text is written as a JSON string in a shell.
func quoted(text string) string {
	if len(text) > excerptBytes || strings.ContainsRune(text, '\'') {
		text = "text"
	}
	raw, _ := jsontext.Marshal(text) // a string always marshals
	return "'" + string(raw) + "'"
}

// Takes reports whether the operation has a parameter of this name.
func (o *Op) Takes(name string) bool {
	return o.in.field(name) != nil || slices.Contains([]string{nodeParam, timeoutParam}, name)
}
