package testcontainers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// BenchmarkPing is one call at a time, from here by way of a node to another.
func BenchmarkPing(b *testing.B) {
	c, _ := formed(b, Options{Nodes: 3})
	client := harness.Client(c, "n1")
	for b.Loop() {
		require.NoError(b, client.Call(b.Context(), "node.ping", map[string]any{"node": "n2"}, nil))
	}
}

// BenchmarkCreate is the creation of a sandbox with one program, known to all
// nodes, and its end.
func BenchmarkCreate(b *testing.B) {
	c, _ := formed(b, Options{Nodes: 3})
	client := harness.Client(c, "n1")
	sandbox := map[string]any{"id": "b", "children": []any{
		map[string]any{"id": "counter", "protocol": "jsonrpc", "run": map[string]any{"exec": []string{nodeFile, "demo", "counter"}}},
	}}
	for b.Loop() {
		require.NoError(b, client.Call(b.Context(), "sandbox.create", sandbox, nil))
		require.NoError(b, client.Call(b.Context(), "sandbox.destroy", map[string]any{"sandbox_id": "b"}, nil))
	}
}
