package op

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// APIPrefix is where the REST routes of the table begin.
const APIPrefix = "/api/v1"

// OpenAPI returns the table as an OpenAPI 3.1.0 document
// (https://spec.openapis.org/oas/v3.1.0).
func (t *Table) OpenAPI(info Info) ([]byte, error) {
	paths := map[string]object{}
	for _, o := range t.ops {
		item, err := o.openAPIOperation()
		if err != nil {
			return nil, err
		}
		path := o.openAPIPath()
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path][strings.ToLower(o.Method)] = item
	}
	problem, err := jsonschema.For[errs.Problem](nil)
	if err != nil {
		return nil, fmt.Errorf("problem: %w", err)
	}
	return json.MarshalIndent(object{
		"openapi": "3.1.0", "info": info, "paths": paths,
		"components": object{
			"schemas":         object{"Problem": problem},
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
		"security": []object{{}, {"token": []string{}}},
	}, "", "  ")
}

func (o *Op) openAPIPath() string {
	segments := strings.Split(APIPrefix+o.Path, "/")
	for i, segment := range segments {
		if name, ok := strings.CutPrefix(segment, ":"); ok {
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/")
}

func (o *Op) openAPIOperation() (object, error) {
	schema, err := o.ParamsSchema()
	if err != nil {
		return nil, err
	}
	result, err := o.ResultSchema()
	if err != nil {
		return nil, err
	}
	operation := object{
		"operationId": o.Name, "summary": o.Summary, "description": o.describe(),
		"tags":       []string{strings.SplitN(o.Name, ".", 2)[0]},
		"parameters": o.openAPIParameters(schema), "responses": o.openAPIResponses(result), "x-effect": o.Effect, "x-runs": o.Runs,
	}
	if len(schema.Properties) > 0 && hasBody(o.Method) {
		operation["requestBody"] = object{"content": object{"application/json": object{"schema": schema}}}
	}
	return operation, nil
}

func hasBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// openAPIParameters puts what is in the path there, and the rest into the
// query or, where there is one, into the body. The body's schema then lists
// the path's parameters as well, but does not require them.
func (o *Op) openAPIParameters(schema *jsonschema.Schema) []object {
	list := []object{}
	inPath := o.PathParams()
	for _, name := range inPath {
		list = append(list, object{"name": name, "in": "path", "required": true, "schema": schema.Properties[name]})
		if hasBody(o.Method) {
			delete(schema.Properties, name)
			schema.PropertyOrder = slices.DeleteFunc(schema.PropertyOrder, func(s string) bool { return s == name })
			schema.Required = slices.DeleteFunc(schema.Required, func(s string) bool { return s == name })
		}
	}
	if hasBody(o.Method) {
		return list
	}
	for _, name := range sortedKeys(schema.Properties) {
		if !slices.Contains(inPath, name) {
			list = append(list, object{
				"name": name, "in": "query", "required": slices.Contains(schema.Required, name),
				"description": schema.Properties[name].Description, "schema": schema.Properties[name],
			})
		}
	}
	return list
}

func (o *Op) openAPIResponses(result *jsonschema.Schema) object {
	success := object{"description": "Success", "content": object{"application/json": object{"schema": result}}}
	if o.Followed() {
		success["content"].(object)["text/event-stream"] = object{"schema": object{"type": "string"}}
	}
	responses := object{fmt.Sprint(o.SuccessStatus()): success}
	for _, kind := range o.errorKinds() {
		p := kind.Property()
		key := fmt.Sprint(p.Status)
		text := p.Title + " (`" + string(p.Kind) + "`)"
		if other, ok := responses[key].(object); ok {
			text = other["description"].(string) + "; " + text
		}
		responses[key] = object{"description": text, "content": object{
			"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}},
		}}
	}
	return responses
}

// SuccessStatus returns the HTTP status of success.
func (o *Op) SuccessStatus() int {
	if o.Status != 0 {
		return o.Status
	}
	return http.StatusOK
}
