package operations_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

var update = flag.Bool("update", false, "write the files made from the table of operations")

// table is enough to describe the operations.
func table(t *testing.T) *op.Table {
	t.Helper()
	table, err := op.NewTable(nil, slog.New(slog.DiscardHandler), operations.All(operations.Deps{})...)
	require.NoError(t, err)
	return table
}

// TestGenerated: the files in the repository are what the table makes. The
// golden file shows in a diff what changes for clients.
func TestGenerated(t *testing.T) {
	all := table(t)
	info := operations.Info("development")
	openAPI, err := all.OpenAPI(info)
	require.NoError(t, err)
	openRPC, err := all.OpenRPC(info)
	require.NoError(t, err)
	for file, made := range map[string][]byte{
		"../../docs/openapi.json":    append(openAPI, '\n'),
		"../../docs/openrpc.json":    append(openRPC, '\n'),
		"../../docs/api.md":          page(t, all),
		"testdata/operations.golden": golden(t, all),
	} {
		if *update {
			require.NoError(t, os.WriteFile(file, made, 0o644))
			continue
		}
		kept, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(kept), string(made), "%s is not what the table makes; run `make gen` and look at the diff", file)
	}
}

// golden is one paragraph per operation.
func golden(t *testing.T, all *op.Table) []byte {
	var b bytes.Buffer
	for _, o := range all.Ops() {
		fmt.Fprintf(&b, "%s\n  %s %s, status %d, command %q\n  %s, %s, early %v, followed %v, timeout %s\n",
			o.Name, o.Method, op.APIPrefix+o.Path, o.SuccessStatus(), o.Command, o.Effect, o.Runs, o.Early, o.Followed(), o.Timeout)
		for _, kind := range o.Errors {
			fmt.Fprintf(&b, "  error %s\n", kind)
		}
		for _, f := range o.Fields() {
			fmt.Fprintf(&b, "  in  %s\n", parameter(t, f))
		}
		result, err := o.ResultSchema()
		require.NoError(t, err)
		members(&b, "  out ", "", result)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func parameter(t *testing.T, f op.Field) string {
	schema, err := f.Schema()
	require.NoError(t, err)
	text := f.Name + " " + typeName(schema)
	if f.Required {
		text += ", required"
	}
	if f.Default != "" {
		text += ", default " + f.Default
	}
	if len(f.Enum) > 0 {
		text += ", one of " + strings.Join(f.Enum, " ")
	}
	if f.Min != nil {
		text += fmt.Sprintf(", min %v", *f.Min)
	}
	if f.Max != nil {
		text += fmt.Sprintf(", max %v", *f.Max)
	}
	return text
}

// members lists a result's members with their types, depth first.
func members(b *bytes.Buffer, indent, path string, s *jsonschema.Schema) {
	switch {
	case s == nil:
	case len(s.Properties) > 0:
		var names []string
		for name := range s.Properties {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			members(b, indent, strings.TrimPrefix(path+"."+name, "."), s.Properties[name])
		}
	case s.Items != nil:
		members(b, indent, path+"[]", s.Items)
	default:
		fmt.Fprintf(b, "%s%s %s\n", indent, path, typeName(s))
	}
}

func typeName(s *jsonschema.Schema) string {
	switch {
	case s.Format != "":
		return s.Format
	case s.Type != "":
		return s.Type
	case len(s.Types) > 0:
		return strings.Join(slices.DeleteFunc(slices.Clone(s.Types), func(t string) bool { return t == "null" }), " or ")
	default:
		return "any"
	}
}

// page is the API page of the docs.
func page(t *testing.T, all *op.Table) []byte {
	var b bytes.Buffer
	b.WriteString("# API\n\nMade from the table of operations by `make gen`; do not edit.\n\n" +
		"Each operation is a REST route below `" + op.APIPrefix + "`, a JSON-RPC 2.0 method (POST or WebSocket at `/rpc`, or the nodes' TCP port)\n" +
		"and, where one is given, a command. A node serves this table as `/openapi.json` and `/openrpc.json` too.\n\n" +
		"Every operation also takes `node`, the node to run on, and `timeout_ms`. A parameter that is not in the table is an error.\n\n" +
		"An error is a problem document (RFC 9457) over HTTP and the same object as `error.data` in JSON-RPC. `definite` tells whether\n" +
		"what was asked for certainly did not happen.\n\n")
	b.WriteString("| Operation | REST | Command | Runs | Effect |\n|---|---|---|---|---|\n")
	for _, o := range all.Ops() {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s `%s` | %s | %s | %s |\n", o.Name, strings.ReplaceAll(o.Name, ".", ""),
			o.Method, o.Path, command(o), strings.ReplaceAll(string(o.Runs), "_", " "), o.Effect)
	}
	for _, o := range all.Ops() {
		operation(t, &b, o)
	}
	b.WriteString("\n## Errors\n\n| Kind | HTTP | JSON-RPC | Exit code | Definite |\n|---|---|---|---|---|\n")
	for _, p := range errs.Kinds() {
		fmt.Fprintf(&b, "| `%s` | %d | %d | %d | %v |\n", p.Kind, p.Status, p.Code, p.Exit, p.Definite)
	}
	return b.Bytes()
}

func command(o *op.Op) string {
	if o.Command == "" {
		return "–"
	}
	return "`" + o.Command + "`"
}

func operation(t *testing.T, b *bytes.Buffer, o *op.Op) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n", o.Name, o.Summary)
	if o.Description != "" {
		fmt.Fprintf(b, "%s\n", o.Description)
	}
	if len(o.Fields()) > 0 {
		b.WriteString("\n| Parameter | Type | Meaning |\n|---|---|---|\n")
	}
	for _, f := range o.Fields() {
		schema, err := f.Schema()
		require.NoError(t, err)
		notes := f.Doc
		if f.Required {
			notes += "; required"
		}
		if len(f.Enum) > 0 {
			notes += "; one of `" + strings.Join(f.Enum, "`, `") + "`"
		}
		if f.Default != "" {
			notes += "; default `" + f.Default + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Name, typeName(schema), strings.TrimPrefix(notes, "; "))
	}
	for _, example := range o.Examples {
		request, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": o.Name, "params": json.RawMessage(example.Params)})
		require.NoError(t, err)
		fmt.Fprintf(b, "\nExample, %s:\n\n```json\n%s\n```\n", example.Summary, request)
	}
	if len(o.Errors) > 0 {
		kinds := make([]string, len(o.Errors))
		for i, kind := range o.Errors {
			kinds[i] = "`" + string(kind) + "`"
		}
		fmt.Fprintf(b, "\nErrors, besides those of every operation: %s.\n", strings.Join(kinds, ", "))
	}
}
