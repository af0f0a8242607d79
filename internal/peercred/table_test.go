package peercred

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// Rows as Linux 6.18 on a little-endian machine writes them.
const (
	listening = "   0: 0100007F:0FA0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0000000000000000 100 0 0 10 0\n"
	nodes     = "   1: 0100007F:0FA0 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0000000000000000 20 4 30 10 -1\n"
	clients   = "   2: 0100007F:C350 0100007F:0FA0 01 00000000:00000000 02:00000A1B 00000000 900000007   0 13 2 0000000000000000 20 4 30 10 -1\n"
	hungUp    = "   2: 0100007F:C350 0100007F:0FA0 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1\n"
	waiting   = "   3: 0100007F:C350 0100007F:0FA0 06 00000000:00000000 03:000012B4 00000000     0        0 0 3 0000000000000000\n"
	six       = "   4: 00000000000000000000000001000000:C350 00000000000000000000000001000000:0FA0 01 00000000:00000000 00:00000000 00000000  1000        0 14 1\n"
	mapped    = "   5: 0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:0FA0 01 00000000:00000000 00:00000000 00000000  1001        0 15 1\n"
)

func TestFind(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the rows are a little-endian machine's")
	}
	four, loop6 := "127.0.0.1", "[::1]"
	for name, tt := range map[string]struct {
		table string
		six   bool
		host  string
		want  socket
		found bool
	}{
		"a client":               {header + listening + nodes + clients, false, four, socket{900000007, true}, true},
		"first row, no header":   {clients, false, four, socket{900000007, true}, true},
		"last row, no line end":  {header + strings.TrimSuffix(clients, "\n"), false, four, socket{900000007, true}, true},
		"it hung up":             {header + hungUp, false, four, socket{0, false}, true},
		"the kernel remembers":   {header + waiting, false, four, socket{0, false}, true},
		"IPv6":                   {header + six, true, loop6, socket{1000, true}, true},
		"IPv4 by an IPv6 socket": {header + six + mapped, true, four, socket{1001, true}, true},
		"only the node's end":    {header + listening + nodes, false, four, socket{}, false},
		"another family":         {header + clients, true, four, socket{}, false},
		"empty":                  {"", false, four, socket{}, false},
		"cut off":                {header + clients[:60], false, four, socket{}, false},
		"no number":              {strings.Replace(clients, "900000007", "nobody", 1), false, four, socket{}, false},
		"too large a number":     {strings.Replace(clients, "900000007", "4294967296", 1), false, four, socket{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, found := find([]byte(tt.table), tt.six, netip.MustParseAddrPort(tt.host+":50000"), netip.MustParseAddrPort(tt.host+":4000"))
			require.Equal(t, tt.found, found)
			require.Equal(t, tt.want, got)
		})
	}
}

// FuzzFind: whatever a table holds, nothing is found in it that it does not say.
func FuzzFind(f *testing.F) {
	for _, row := range []string{header, listening, nodes, clients, hungUp, waiting, six, mapped} {
		f.Add([]byte(row), false)
		f.Add([]byte(header+row), true)
	}
	remote, local := netip.MustParseAddrPort("127.0.0.1:50000"), netip.MustParseAddrPort("127.0.0.1:4000")
	f.Fuzz(func(t *testing.T, table []byte, six bool) {
		s, found := find(table, six, remote, local)
		if !found {
			require.Zero(t, s)
			return
		}
		require.Contains(t, string(table), end(remote, six)+" "+end(local, six))
		// What another's row says before it makes no difference.
		again, found := find(append([]byte(header+listening), "\n"+string(table)...), six, remote, local)
		require.True(t, found)
		require.Equal(t, s, again)
	})
}

// FuzzAnswered: whatever the kernel sends, only a message of the right kind, about the
// socket that was asked for, is an answer.
func FuzzAnswered(f *testing.F) {
	remote, local := netip.MustParseAddrPort("127.0.0.1:50000"), netip.MustParseAddrPort("127.0.0.1:4000")
	good := make([]byte, answerSize)
	binary.NativeEndian.PutUint16(good[4:], sockDiagByFamily)
	copy(good[answerEnds:], ends(remote, local))
	f.Add(good)
	f.Add(good[:answerSize-1])
	f.Add(request(remote, local))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := answered(b, remote, local)
		if err != nil {
			require.Zero(t, s)
			return
		}
		require.GreaterOrEqual(t, len(b), answerSize)
		require.Equal(t, ends(remote, local)[:4], b[answerEnds:answerEnds+4])
	})
}
