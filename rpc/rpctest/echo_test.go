package rpctest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBareEcho(t *testing.T) {
	require.Positive(t, BareEcho(t, 4, []byte("payload"), 100))
}
