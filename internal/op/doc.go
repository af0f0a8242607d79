// Package op is the mechanism behind the one table of operations.
//
// An operation is defined once, with [Define]: its name, its typed parameters
// and result, its REST route, where it runs, how long it may take and which
// errors it can return. A [Table] of operations is an explicit list. From it
// come the JSON-RPC methods, the REST routes, the commands of the command
// line, the schemas and the openapi and openrpc documents.
//
// # Usage
//
//	type lookupParams struct {
//		Name string `json:"name" op:"required" doc:"the name to look up"`
//	}
//	lookup := op.Define(op.Spec{Name: "registry.lookup", …},
//		func(ctx context.Context, in lookupParams) (Claim, error) { … })
//	table, err := op.NewTable(router, lookup, …)
//	result, err := table.Invoke(ctx, op.Request{Method: "registry.lookup", Params: raw})
//
// # Guarantees
//
// Every request, whatever it came in by, goes through [Table.Invoke], which
// decodes strictly (an unknown, repeated, missing or ill-typed parameter is an
// error that names it), waits for the node to have joined, sets the deadline,
// runs the operation where it belongs, counts it and returns an *errs.Error if
// it failed. A handler that panics is an error of kind internal.
//
// Two parameters are understood by every operation: node pins it to one node
// (unless the operation has a node parameter of its own), timeout_ms bounds
// it.
//
// # What callers owe
//
// A handler keeps to its context. Parameters and results are plain values that
// marshal to JSON; results are not changed after they were returned.
//
// # Debugging
//
// [Table.Stats] tells for each operation how often it ran, failed by kind and
// how long it took. [Request.Caller] says who asked.
package op
