package memdbtest_test

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb/memdbtest"
)

func TestFill(t *testing.T) {
	bare, err := memdbtest.Fill(600, "n1", strconv.Itoa, json.RawMessage("7"))
	require.NoError(t, err)
	claim, ok := bare.Holder("599")
	require.True(t, ok)
	require.Equal(t, "7", string(claim.Value))
	_, ok = bare.Holder("600")
	require.False(t, ok)
}
