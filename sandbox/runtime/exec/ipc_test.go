package exec

import (
	"log/slog"
	"os"
	osexec "os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
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

// What killed nodes left is removed, and what has a living user is not.
func TestSweepIPC(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give objects to other users")
	}
	first := 1_800_000_000 + 2*os.Getpid() // nobody else's
	gone, living := first, first+1
	make := func(user int) int {
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600)
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
		_, err = unix.SysvShmCtl(id, unix.IPC_SET, &unix.SysvShmDesc{Perm: unix.SysvIpcPerm{Uid: uint32(user)}})
		require.NoError(t, err)
		return id
	}
	there := func(id int) bool {
		_, err := unix.SysvShmCtl(id, unix.IPC_STAT, &unix.SysvShmDesc{})
		return err == nil
	}
	program := osexec.Command("sleep", "1000")
	program.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(living), Gid: uint32(living)}}
	require.NoError(t, program.Start())
	defer func() { _ = program.Process.Kill(); _ = program.Wait() }()
	left, used, others := make(gone), make(living), make(first+2)
	sweepIPC(first, 2, slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.False(t, there(left))
	require.True(t, there(used))
	require.True(t, there(others), "out of the range")
}
