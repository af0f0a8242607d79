package exec

import (
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewBrand(t *testing.T) {
	for range 1000 {
		outer := newBrand(math.MaxUint64)
		require.Less(t, uint64(outer), uint64(1)<<62)
		require.NotZero(t, outer.family())
		inner := newBrand(uint64(outer) - 7) // a node that is a program of another one
		if inner == unbranded {
			require.LessOrEqual(t, outer.family(), brand(1))
			continue
		}
		require.Less(t, inner.family(), outer.family())
		require.Equal(t, inner.family(), (inner - 1_000_000).family())
	}
	require.Equal(t, unbranded, newBrand(200_000), "a limit that somebody means")
}

func TestBrandIn(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \n"
	require.Equal(t, brand(12), brandIn([]byte(head+"Max realtime priority     7      8      \nMax realtime timeout      11     12     us        \n")))
	require.Equal(t, unbranded, brandIn([]byte(head+"Max realtime timeout      unlimited            unlimited            us        \n")))
	require.Equal(t, unbranded, brandIn([]byte("Max realtime timeout")))
	require.Equal(t, unbranded, brandIn(nil))
	require.Equal(t, readBrand(os.Getppid()), readBrand(os.Getpid()), "a child has its parent's")
}
