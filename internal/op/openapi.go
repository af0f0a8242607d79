package op

import (
	"encoding/json"
	"fmt"
	"maps"
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
	paths := map[string]doc{}
	for _, o := range t.ops {
		item, err := o.openAPIOperation()
		if err != nil {
			return nil, err
		}
		path := o.openAPIPath()
		if paths[path] == nil {
			paths[path] = doc{}
		}
		paths[path][strings.ToLower(o.Method)] = item
	}
	problem, err := jsonschema.For[errs.Problem](nil)
	if err != nil {
		return nil, fmt.Errorf("problem: %w", err)
	}
	return json.MarshalIndent(doc{
		"openapi": "3.1.0", "info": info, "paths": paths,
		"components": doc{
			"schemas":         doc{"Problem": problem},
			"securitySchemes": doc{"token": doc{"type": "http", "scheme": "bearer"}},
		},
		"security": []doc{{}, {"token": []string{}}},
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

func (o *Op) openAPIOperation() (doc, error) {
	schema, err := o.ParamsSchema()
	if err != nil {
		return nil, err
	}
	result, err := o.ResultSchema()
	if err != nil {
		return nil, err
	}
	operation := doc{
		"operationId": o.Name, "summary": o.Summary, "description": o.describe(),
		"tags":       []string{strings.SplitN(o.Name, ".", 2)[0]},
		"parameters": o.openAPIParameters(schema), "responses": o.openAPIResponses(result), "x-effect": o.Effect, "x-runs": o.Runs,
	}
	if len(schema.Properties) > 0 && hasBody(o.Method) {
		operation["requestBody"] = doc{"content": doc{"application/json": doc{"schema": schema}}}
	}
	return operation, nil
}

func hasBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// openAPIParameters puts what is in the path there, and the rest into the
// query or, where there is one, into the body. The body's schema then lists
// the path's parameters as well, but does not require them.
func (o *Op) openAPIParameters(schema *jsonschema.Schema) []doc {
	list := []doc{}
	inPath := o.PathParams()
	for _, name := range inPath {
		list = append(list, doc{"name": name, "in": "path", "required": true, "schema": schema.Properties[name]})
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
			list = append(list, doc{
				"name": name, "in": "query", "required": slices.Contains(schema.Required, name),
				"description": schema.Properties[name].Description, "schema": schema.Properties[name],
			})
		}
	}
	return list
}

func (o *Op) openAPIResponses(result *jsonschema.Schema) doc {
	success := doc{"description": "Success", "content": doc{"application/json": doc{"schema": result}}}
	if o.Followed() {
		success["content"].(doc)["text/event-stream"] = doc{"schema": doc{"type": "string"}}
	}
	responses := doc{fmt.Sprint(o.SuccessStatus()): success}
	if created := result.Properties["created"]; created != nil && created.Type == "boolean" && o.Status == http.StatusCreated {
		repeated := maps.Clone(success)
		repeated["description"] = "It was so before (`created` is false)"
		responses[fmt.Sprint(http.StatusOK)] = repeated
	}
	for _, kind := range o.errorKinds() {
		p := kind.Property()
		key := fmt.Sprint(p.Status)
		text := p.Title + " (`" + string(p.Kind) + "`)"
		if other, ok := responses[key].(doc); ok {
			text = other["description"].(string) + "; " + text
		}
		responses[key] = doc{"description": text, "content": doc{
			"application/problem+json": doc{"schema": doc{"$ref": "#/components/schemas/Problem"}},
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
