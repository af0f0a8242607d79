package op

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// The parameters that every operation understands.
const (
	nodeParam    = "node"
	timeoutParam = "timeout_ms"
)

// waitParam is how long an operation that has this parameter waits for what is not
// there yet, in milliseconds. It may then take so much longer than usual.
const waitParam = "wait_ms"

// Decoder is implemented by parameter types that decode themselves, such as a
// spec whose faults are all to be listed at once. It gets the members that are
// not common to all operations.
type Decoder interface {
	DecodeParams(members map[string]json.RawMessage) error
}

// Field is one parameter of an operation.
type Field struct {
	Name     string
	Doc      string
	Type     reflect.Type
	Required bool
	Enum     []string
	Default  string   // JSON, or a bare word for strings; "" for none
	Min, Max *float64 // of a number, or of a string's length in bytes
	index    []int
}

// params is what is known of a parameter type.
type params struct {
	typ    reflect.Type
	fields []Field
	custom bool // the type is a Decoder
}

// paramsOf reads the tags of a parameter type:
//
//	json:"limit" doc:"at most this many" op:"required" enum:"a,b" min:"1" max:"1000" default:"100"
func paramsOf[In any](op string) params {
	t := reflect.TypeFor[In]()
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("operation %q: parameters are a struct, not %s", op, t))
	}
	p := params{typ: t, custom: reflect.PointerTo(t).Implements(reflect.TypeFor[Decoder]())}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "" || name == "-" {
			continue
		}
		p.fields = append(p.fields, fieldOf(name, f))
	}
	return p
}

func fieldOf(name string, f reflect.StructField) Field {
	field := Field{
		Name: name, Doc: f.Tag.Get("doc"), Type: f.Type, index: f.Index,
		Required: f.Tag.Get("op") == "required", Default: f.Tag.Get("default"),
		Min: bound(f.Tag.Get("min")), Max: bound(f.Tag.Get("max")),
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		field.Enum = strings.Split(enum, ",")
	}
	return field
}

func bound(tag string) *float64 {
	if tag == "" {
		return nil
	}
	v, err := strconv.ParseFloat(tag, 64)
	if err != nil {
		panic(fmt.Sprintf("bound %q is not a number", tag))
	}
	return &v
}

func (p *params) field(name string) *Field {
	i := slices.IndexFunc(p.fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &p.fields[i]
}

// Fields returns the operation's own parameters, in the order of their
// definition.
func (o *Op) Fields() []Field { return o.in.fields }

// names lists what the operation takes, for messages.
func (p *params) names() string {
	names := make([]string, 0, len(p.fields)+2)
	for _, f := range p.fields {
		names = append(names, f.Name)
	}
	for _, common := range []string{nodeParam, timeoutParam} {
		if p.field(common) == nil {
			names = append(names, common)
		}
	}
	return strings.Join(names, ", ")
}

// Members splits a params object into its members, which are parts of raw,
// refusing what is not an object and members that come twice.
func Members(raw json.RawMessage) (map[string]json.RawMessage, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return map[string]json.RawMessage{}, nil
	}
	if !json.Valid(raw) {
		return nil, errs.New(errs.BadParameter, "parameters are not valid JSON")
	}
	return validMembers(raw)
}

// validMembers is [Members] of what is known to be valid JSON.
func validMembers(raw json.RawMessage) (map[string]json.RawMessage, error) {
	if len(raw) == 0 {
		return map[string]json.RawMessage{}, nil
	}
	if raw[0] != '{' {
		return nil, errs.New(errs.BadParameter, "parameters are passed by name: params must be an object")
	}
	m, twice := map[string]json.RawMessage{}, ""
	jsontext.EachMember(raw, func(key, value []byte) {
		name := jsontext.Unquote(key)
		if _, ok := m[name]; ok {
			twice = name
		}
		m[name] = value
	})
	if twice != "" {
		return nil, errs.BadParam(twice, "given twice; give it once")
	}
	return m, nil
}

// object is the reverse of [Members]: the values are valid JSON.
func object(m map[string]json.RawMessage) json.RawMessage {
	b := []byte{'{'}
	for name, value := range m {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(jsontext.AppendString(b, name), ':'), value...)
	}
	return append(b, '}')
}

// decode turns members into a value of the parameter type.
func (p *params) decode(m map[string]json.RawMessage) (any, error) {
	v := reflect.New(p.typ)
	if p.custom {
		if err := v.Interface().(Decoder).DecodeParams(m); err != nil {
			return nil, errs.From(err)
		}
		return v.Elem().Interface(), nil
	}
	for name := range m {
		if p.field(name) == nil {
			return nil, errs.BadParam(name, "unknown; known are: %s", p.names())
		}
	}
	for i := range p.fields {
		f := &p.fields[i]
		raw, given := m[f.Name]
		switch {
		case given && !bytes.Equal(raw, []byte("null")):
		case f.Required:
			return nil, errs.BadParam(f.Name, "required, but missing")
		case f.Default != "":
			raw = f.defaultJSON()
		default:
			continue
		}
		if err := f.set(v.Elem().FieldByIndex(f.index), raw); err != nil {
			return nil, err
		}
	}
	return v.Elem().Interface(), nil
}

func (f *Field) defaultJSON() json.RawMessage {
	if f.Type.Kind() == reflect.String {
		return json.RawMessage(strconv.Quote(f.Default))
	}
	return json.RawMessage(f.Default)
}

// set decodes raw into the field's value and checks its bounds.
func (f *Field) set(v reflect.Value, raw json.RawMessage) error {
	if err := unmarshal(raw, v); err != nil {
		var typeErr *json.UnmarshalTypeError
		if errors.As(err, &typeErr) {
			where := ""
			if typeErr.Field != "" {
				where = " in " + typeErr.Field
			}
			return errs.BadParam(f.Name, "must be %s, not a JSON %s%s", kindWord(typeErr.Type), typeErr.Value, where)
		}
		return errs.BadParam(f.Name, "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return f.checkBounds(v)
}

// unmarshal is strict about the members of objects. Only what may hold some
// needs a decoder, which copies all that it reads.
func unmarshal(raw json.RawMessage, v reflect.Value) error {
	switch target := v.Addr().Interface().(type) {
	case *json.RawMessage:
		*target = raw
		return nil
	case *string:
		if plain, ok := jsontext.PlainString(raw); ok {
			*target = plain
			return nil
		}
		if err := json.Unmarshal(raw, target); err != nil {
			return err
		}
		if !jsontext.Whole(raw) {
			return errors.New("has half of a surrogate pair, or a byte that is not UTF-8: it cannot be told which text is meant")
		}
		return nil
	case *bool, *int, *int64, *uint64, *float64, *[]string:
		return json.Unmarshal(raw, target)
	default:
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		return d.Decode(target)
	}
}

func (f *Field) checkBounds(v reflect.Value) error {
	if len(f.Enum) > 0 && !slices.Contains(f.Enum, v.String()) {
		return errs.BadParam(f.Name, "must be one of %s, not %q", strings.Join(f.Enum, ", "), v.String())
	}
	size, what := 0.0, ""
	switch {
	case v.CanInt():
		size = float64(v.Int())
	case v.CanUint():
		size = float64(v.Uint())
	case v.CanFloat():
		size = v.Float()
	case v.Kind() == reflect.String:
		size, what = float64(v.Len()), " bytes long"
	default:
		return nil
	}
	if f.Min != nil && size < *f.Min {
		return errs.BadParam(f.Name, "must be at least %v%s", *f.Min, what)
	}
	if f.Max != nil && size > *f.Max {
		return errs.BadParam(f.Name, "must be at most %v%s", *f.Max, what)
	}
	return nil
}

// kindWord names a Go type as a JSON client would.
func kindWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer of at least 0"
	default:
		return "an integer"
	}
}
