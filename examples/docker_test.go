package examples

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/testcontainers"
)

// TestMain lets this test binary be the one that cleans up, should the tests be
// killed. Without it the tests fail.
func TestMain(m *testing.M) { testcontainers.Main(m) }

// TestInContainers: the same in containers. Two nodes that cannot talk are still
// alive to each other, by way of the third.
func TestInContainers(t *testing.T) {
	testcontainers.Need(t)
	binary, err := harness.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	c, err := testcontainers.Start(t.Context(), testcontainers.Options{Binary: binary, Nodes: 3, Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	_, err = harness.WaitAgreed(within(t, time.Minute), c)
	require.NoError(t, err)
	_, err = c.Break(t.Context(), harness.Link{Node: "n1", Peer: "n2"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s, err := harness.StatusOf(t.Context(), c, "n1")
		return err == nil && s.Alive == 3 && s.Nodes[1].Reach == "via n3"
	}, 20*time.Second, 20*time.Millisecond)
	_, err = c.Heal(t.Context())
	require.NoError(t, err)
	_, err = harness.WaitAgreed(within(t, time.Minute), c)
	require.NoError(t, err)
}
