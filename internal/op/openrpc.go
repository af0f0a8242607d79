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

// doc is a JSON object under construction; encoding/json sorts its keys, so
// the documents are the same every time.
type doc map[string]any

// OpenRPC returns the table as an OpenRPC 1.3.2 document
// (https://spec.open-rpc.org).
func (t *Table) OpenRPC(info Info) ([]byte, error) {
	methods := []doc{}
	for _, o := range t.ops {
		m, err := o.openRPCMethod()
		if err != nil {
			return nil, err
		}
		methods = append(methods, m)
	}
	return json.MarshalIndent(doc{"openrpc": "1.3.2", "info": info, "methods": methods}, "", "  ")
}

func (o *Op) openRPCMethod() (doc, error) {
	schema, err := o.ParamsSchema()
	if err != nil {
		return nil, err
	}
	params := []doc{}
	for _, name := range append(slices.Clone(schema.Required), sortedKeys(schema.Properties)...) {
		if slices.ContainsFunc(params, func(p doc) bool { return p["name"] == name }) {
			continue
		}
		property := schema.Properties[name]
		params = append(params, doc{
			"name": name, "description": property.Description, "schema": property,
			"required": slices.Contains(schema.Required, name),
		})
	}
	result, err := o.ResultSchema()
	if err != nil {
		return nil, err
	}
	return doc{
		"name": o.Name, "summary": o.Summary, "description": o.describe(), "paramStructure": "by-name",
		"params": params, "result": doc{"name": "result", "schema": result}, "errors": o.openRPCErrors(),
		"x-effect": o.Effect, "x-runs": o.Runs,
	}, nil
}

func (o *Op) openRPCErrors() []doc {
	var list []doc
	for _, kind := range o.errorKinds() {
		p := kind.Property()
		list = append(list, doc{"code": p.Code, "message": p.Title, "data": doc{"kind": p.Kind, "definite": p.Definite}})
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
