package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/internal/errs"
)

// TestSlotsHoldNames: a slot is a holder of its own, on its node and on others.
func TestSlotsHoldNames(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n1, n2 := w.nodes["n1"], w.nodes["n2"]
		slot := registry.Register{Name: "cache", Sandbox: "shop", Child: "a"}
		claim, created, err := n1.Register(t.Context(), slot)
		require.NoError(t, err)
		require.True(t, created)
		require.Equal(t, "shop", claim.Sandbox)
		require.Equal(t, "a", claim.Child)
		_, created, err = n1.Register(t.Context(), slot)
		require.NoError(t, err)
		require.False(t, created, "it has it already")
		for _, other := range []registry.Register{{Name: "cache"}, {Name: "cache", Sandbox: "shop", Child: "b"}, {Name: "cache", Sandbox: "mall", Child: "a"}} {
			_, _, err = n1.Register(t.Context(), other)
			require.Equal(t, errs.NameTaken, errs.KindOf(err), "%+v", other)
			require.ErrorContains(t, err, `child "a" of sandbox "shop" on node n1`)
		}
		_, _, err = n2.Register(t.Context(), slot)
		require.Equal(t, errs.NameTaken, errs.KindOf(err), "another node's slot of the same name")
		found, err := n2.Lookup(t.Context(), "cache", true)
		require.NoError(t, err)
		require.Equal(t, claim, found)
	}, "n1", "n2")
}

// TestReservedNamesAreNobodysToAskFor: no valid name is one of those.
func TestReservedNamesAreNobodysToAskFor(t *testing.T) {
	name := registry.SandboxName("shop")
	require.True(t, registry.Reserved(name))
	require.Error(t, registry.ValidName("name", name))
	id, ok := registry.SandboxOf(name)
	require.True(t, ok)
	require.Equal(t, "shop", id)
	require.False(t, registry.Reserved("sandbox/shop"))
	_, ok = registry.SandboxOf("sandbox/shop")
	require.False(t, ok)
}
