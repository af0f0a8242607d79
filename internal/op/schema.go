package op

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

// typeSchemas are the types whose JSON form is not what their Go form says.
var typeSchemas = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[json.RawMessage](): {Description: "any JSON value"},
	reflect.TypeFor[time.Time]():       {Type: "string", Format: "date-time", Description: "RFC 3339, UTC"},
}

// ParamsSchema returns the JSON Schema of the operation's parameters, an
// object, with the parameters that every operation understands.
func (o *Op) ParamsSchema() (*jsonschema.Schema, error) {
	s := &jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{}, AdditionalProperties: noSchema()}
	for i := range o.in.fields {
		f := &o.in.fields[i]
		property, err := f.Schema()
		if err != nil {
			return nil, fmt.Errorf("operation %s: %w", o.Name, err)
		}
		s.Properties[f.Name] = property
		s.PropertyOrder = append(s.PropertyOrder, f.Name)
		if f.Required {
			s.Required = append(s.Required, f.Name)
		}
	}
	for name, property := range o.commonSchemas() {
		if s.Properties[name] == nil {
			s.Properties[name] = property
		}
	}
	if o.pins {
		s.Required = append(s.Required, nodeParam)
	}
	return s, nil
}

func noSchema() *jsonschema.Schema { return &jsonschema.Schema{Not: &jsonschema.Schema{}} }

func (o *Op) commonSchemas() map[string]*jsonschema.Schema {
	return map[string]*jsonschema.Schema{
		nodeParam: {Type: "string", Description: "the node to run on"},
		timeoutParam: {
			Type: "integer", Minimum: jsonschema.Ptr(1.0), Maximum: jsonschema.Ptr(float64(time.Hour.Milliseconds())),
			Default:     json.RawMessage(fmt.Sprint(o.timeout().Milliseconds())),
			Description: "how long to wait for the answer",
		},
	}
}

// ResultSchema returns the JSON Schema of the operation's result.
func (o *Op) ResultSchema() (*jsonschema.Schema, error) {
	s, err := schemaOf(o.out)
	if err != nil {
		return nil, fmt.Errorf("operation %s: result: %w", o.Name, err)
	}
	return s, nil
}

// Described is implemented by a type whose schema is told in words, since it
// contains itself: a list of the type it is part of.
type Described interface {
	// DescribeSchema says what the list's elements are.
	DescribeSchema() string
}

func schemaOf(t reflect.Type) (*jsonschema.Schema, error) {
	known := maps.Clone(typeSchemas)
	describe(t, known, map[reflect.Type]bool{})
	return jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: known})
}

// describe finds the types within t that describe themselves.
func describe(t reflect.Type, known map[reflect.Type]*jsonschema.Schema, seen map[reflect.Type]bool) {
	if seen[t] || known[t] != nil {
		return
	}
	seen[t] = true
	if t.Implements(reflect.TypeFor[Described]()) {
		text := reflect.Zero(t).Interface().(Described).DescribeSchema()
		known[t] = &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "object", Description: text}}
		return
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		describe(t.Elem(), known, seen)
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			describe(f.Type, known, seen)
		}
	}
}

// Schema returns the JSON Schema of one parameter.
func (f *Field) Schema() (*jsonschema.Schema, error) {
	s, err := schemaOf(f.Type)
	if err != nil {
		return nil, fmt.Errorf("parameter %s: %w", f.Name, err)
	}
	s.Description = f.Doc
	for _, word := range f.Enum {
		s.Enum = append(s.Enum, word)
	}
	if f.Default != "" {
		s.Default = f.defaultJSON()
	}
	if f.Type.Kind() == reflect.String {
		s.MinLength, s.MaxLength = length(f.Min), length(f.Max)
	} else {
		s.Minimum, s.Maximum = f.Min, f.Max
	}
	return s, nil
}

func length(bound *float64) *int {
	if bound == nil {
		return nil
	}
	return jsonschema.Ptr(int(*bound))
}

// describe joins the summary and the description into Markdown.
func (o *Op) describe() string {
	text := o.Summary + "."
	if o.Description != "" {
		text += "\n\n" + strings.TrimSpace(o.Description)
	}
	return text
}
