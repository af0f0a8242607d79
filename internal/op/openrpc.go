package op

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Info is what the documents say of the program they describe.
type Info struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Version     string `json:"version"`
}

// object is a JSON object under construction; encoding/json sorts its keys, so
// the documents are the same every time.
type object map[string]any

// OpenRPC returns the table as an OpenRPC 1.3.2 document
// (https://spec.open-rpc.org).
func (t *Table) OpenRPC(info Info) ([]byte, error) {
	methods := []object{}
	for _, o := range t.ops {
		m, err := o.openRPCMethod()
		if err != nil {
			return nil, err
		}
		methods = append(methods, m)
	}
	return json.MarshalIndent(object{"openrpc": "1.3.2", "info": info, "methods": methods}, "", "  ")
}

func (o *Op) openRPCMethod() (object, error) {
	schema, err := o.ParamsSchema()
	if err != nil {
		return nil, err
	}
	params := []object{}
	for _, name := range append(slices.Clone(schema.Required), sortedKeys(schema.Properties)...) {
		if slices.ContainsFunc(params, func(p object) bool { return p["name"] == name }) {
			continue
		}
		property := schema.Properties[name]
		params = append(params, object{
			"name": name, "description": property.Description, "schema": property,
			"required": slices.Contains(schema.Required, name),
		})
	}
	result, err := o.ResultSchema()
	if err != nil {
		return nil, err
	}
	return object{
		"name": o.Name, "summary": o.Summary, "description": o.describe(), "paramStructure": "by-name",
		"params": params, "result": object{"name": "result", "schema": result}, "errors": o.openRPCErrors(),
		"x-effect": o.Effect, "x-runs": o.Runs,
	}, nil
}

func (o *Op) openRPCErrors() []object {
	var list []object
	for _, kind := range o.errorKinds() {
		p := kind.Property()
		list = append(list, object{"code": p.Code, "message": p.Title, "data": object{"kind": p.Kind, "definite": p.Definite}})
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// errorKinds returns the kinds the operation can return, the common ones
// included.
func (o *Op) errorKinds() []errs.Kind {
	kinds := append([]errs.Kind{errs.BadParameter, errs.Internal, errs.NotReady, errs.NodeUnavailable, errs.Timeout}, o.Errors...)
	slices.Sort(kinds)
	return slices.Compact(kinds)
}
