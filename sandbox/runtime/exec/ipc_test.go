package exec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseIPC(t *testing.T) {
	// Of Linux 6.18; the columns of the three tables differ.
	shm := `       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap
         0          3   600                  4096  4711  4711      0     0     0 900000001 900000001          0          0 1764321000                     0                     0
`
	sem := `       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime
 123456789      32768   600          1 900000002 900000002 900000002 900000002          0 1764321000
`
	require.Equal(t, []ipcObject{{id: 3, owner: 0, maker: 900000001}}, parseIPC(shm, "shmid"))
	require.Equal(t, []ipcObject{{id: 32768, owner: 900000002, maker: 900000002}}, parseIPC(sem, "semid"))
	require.Empty(t, parseIPC("", "shmid"))
}

func TestMountsBelow(t *testing.T) {
	const info = `22 1 0:21 / / rw - ext4 /dev/vda rw
90 22 0:50 / /tmp/glassbox-a-1-2.x/n.1.1 rw,nosuid - tmpfs glassbox-work rw
91 22 0:51 / /tmp/glassbox-a-1-2.x/n.1.1/a\040b\134 rw - tmpfs x rw
92 22 0:52 / /tmp/glassbox-a-1-2.xy/n.1.1 rw - tmpfs glassbox-work rw
93 22 0:53 / /tmp/glassbox-a-1-2.x rw - tmpfs x rw
`
	require.Equal(t, []string{`/tmp/glassbox-a-1-2.x/n.1.1/a b\`, "/tmp/glassbox-a-1-2.x/n.1.1"}, mountsBelow(info, "/tmp/glassbox-a-1-2.x"))
	require.Empty(t, mountsBelow(info, "/tmp/none"))
}
