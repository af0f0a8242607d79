package netfault_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/testcontainers/internal/netfault"
)

// TestServe: each line is answered, in order, also those that fail.
func TestServe(t *testing.T) {
	in := `[{"peer":"198.18.0.3","in":true,"loss":0.25}]
null
[{"peer":"198.18.0.4","out":true}]
`
	var applied [][]netfault.Rule
	var out bytes.Buffer
	err := netfault.Serve(strings.NewReader(in), &out, func(rules []netfault.Rule) error {
		applied = append(applied, rules)
		if len(applied) == 3 {
			return errors.New("no\nroom")
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "\"\"\n\"\"\n\"no\\nroom\"\n", out.String())
	require.Equal(t, [][]netfault.Rule{
		{{Peer: netip.MustParseAddr("198.18.0.3"), In: true, Loss: 0.25}}, nil, {{Peer: netip.MustParseAddr("198.18.0.4"), Out: true}},
	}, applied)
}

// TestServeNonsense: what cannot be understood ends it.
func TestServeNonsense(t *testing.T) {
	require.Error(t, netfault.Serve(strings.NewReader("cut everything\n"), &bytes.Buffer{}, nil))
}
