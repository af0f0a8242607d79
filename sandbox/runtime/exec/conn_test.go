package exec

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// connPair makes both ends of a socket.
func connPair(t *testing.T) (a, b *conn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	var ends [2]*conn
	for i, fd := range pair {
		ends[i], err = newConn(os.NewFile(uintptr(fd), "end"))
		require.NoError(t, err)
		t.Cleanup(func() { ends[i].unix.Close() })
	}
	return ends[0], ends[1]
}

// The largest start there can be goes through in one message, whatever its
// bytes are, with the kernel's default limits.
func TestLargestStart(t *testing.T) {
	node, guardian := connPair(t)
	worst := func(n int) string { return strings.Repeat("\x01", n) } // six bytes each in JSON
	env := []string{"A=" + worst(1000)}
	argv := []string{worst(maxProgram - len(pack(env)) - 1)}
	m := message{Op: opStart, ID: strings.Repeat("i", 200), Path: worst(unix.PathMax), Dir: worst(unix.PathMax)}
	var err error
	m.Argv, m.Env, err = packProgram("x", argv, env)
	require.NoError(t, err)
	require.NoError(t, node.send(m))
	got, _, err := guardian.recv()
	require.NoError(t, err)
	require.Equal(t, argv, unpack(got.Argv))
	require.Equal(t, env, unpack(got.Env))
	require.Equal(t, m.Path, got.Path)

	_, _, err = packProgram("x", append(argv, ""), env)
	require.ErrorContains(t, err, "pass them in a file")
	m.Argv = make([]byte, maxPacket)
	require.ErrorIs(t, node.send(m), errTooLarge)
}

func TestPack(t *testing.T) {
	for _, list := range [][]string{nil, {""}, {"", ""}, {"a", "", "b\n&<é\xff"}} {
		require.Equal(t, list, unpack(pack(list)))
	}
	_, _, err := packProgram("x", []string{"a\x00b"}, nil)
	require.ErrorContains(t, err, "NUL")
}
