package exec

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadOnly(t *testing.T) {
	const maps = `00400000-00c5b000 r-xp 00000000 08:01 42 /bin/glassbox
00c5b000-00d00000 r--p 0085b000 08:01 42 /bin/glassbox
00d00000-00d10000 rw-p 00900000 08:01 42 /bin/glassbox
00d10000-00d20000 rw-p 00000000 00:00 0
7f0000000000-7f0000001000 r-xp 00000000 08:01 43 /lib/other.so
nonsense
`
	require.Equal(t, []mapping{{0x400000, 0xc5b000}, {0xc5b000, 0xd00000}}, readOnly(maps, "/bin/glassbox"))
}

// TestGivePagesBack: this very process goes on, with less of its binary in
// memory.
func TestGivePagesBack(t *testing.T) {
	exe, err := os.Readlink("/proc/self/exe")
	require.NoError(t, err)
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	require.NotEmpty(t, readOnly(string(maps), exe))
	require.NoError(t, givePagesBack())
}
