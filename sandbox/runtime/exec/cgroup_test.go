package exec

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

func TestFindCgroups(t *testing.T) {
	for _, tt := range []struct {
		name, mountinfo, own string
		want                 map[string]cgroupMount
	}{
		{
			"hybrid", "40 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
				"41 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n" +
				"42 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/d\n",
			map[string]cgroupMount{
				"memory": {"/sys/fs/cgroup/memory/a/b", false}, "": {"/sys/fs/cgroup/unified/d", true},
			},
		},
		{
			"version 2", "42 30 0:32 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n", "0::/system.slice/glassbox.service\n",
			map[string]cgroupMount{"": {"/sys/fs/cgroup/system.slice/glassbox.service", true}},
		},
		{
			"container that sees its part", "40 30 0:30 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/x\n",
			map[string]cgroupMount{"memory": {"/sys/fs/cgroup/memory", false}},
		},
		{"none", "22 27 0:21 / /proc rw - proc proc rw\nbroken\n", "", map[string]cgroupMount{}},
	} {
		got := findCgroups(tt.mountinfo, tt.own)
		for name, want := range tt.want {
			require.Equal(t, want, got[name], "%s: %q", tt.name, name)
		}
		if len(tt.want) < 2 {
			require.Equal(t, tt.want, got, tt.name)
		}
	}
}

func TestOver(t *testing.T) {
	prefix, own := lives("n1")
	require.False(t, over(own, prefix), "this life")
	require.True(t, over(fmt.Sprintf("%s%d-1", prefix, os.Getpid()), prefix), "an earlier process of this pid")
	require.True(t, over(prefix+"4194999-5", prefix), "no process")
	for _, name := range []string{"", "glassbox-n10-1-1", "glassbox-n1-", prefix + "1", prefix + "1-2-3", prefix + "x-1", prefix + "1-2x"} {
		require.False(t, over(name, prefix), name)
	}
}

func TestCounted(t *testing.T) {
	require.Equal(t, 3, counted("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"))
	require.Zero(t, counted("low 0\noom 1\n", "oom_kill"))
}

// Cgroups of a life that is over are removed, with what is still in them.
func TestGroupsOfAFormerLife(t *testing.T) {
	node := fmt.Sprintf("sweep%d", os.Getpid())
	h, faults := openHierarchy(node, slog.New(slog.DiscardHandler))
	defer h.close()
	if why := faults[isolation.PidsLimit]; why != "" {
		if os.Getenv("GLASSBOX_REQUIRE") != "" && os.Geteuid() == 0 {
			require.Fail(t, "GLASSBOX_REQUIRE is set", why)
		}
		t.Skip(why)
	}
	prefix, _ := lives(node)
	old := filepath.Join(filepath.Dir(h.folders[isolation.PidsLimit]), prefix+"4194999-5")
	inner := filepath.Join(old, "p")
	require.NoError(t, os.MkdirAll(inner, 0o755))
	left := exec.Command("sleep", "1000")
	require.NoError(t, left.Start())
	require.NoError(t, enroll(left.Process.Pid, []string{inner}))
	ended := make(chan error, 1)
	go func() { ended <- left.Wait() }()
	again, _ := openHierarchy(node, slog.New(slog.DiscardHandler))
	again.close()
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "killed")
	case <-time.After(10 * time.Second):
		_ = left.Process.Kill()
		require.Fail(t, "it lives")
	}
	require.NoDirExists(t, old)
}

// No two sandboxes with living programs have one user, whatever comes and goes.
func TestUsersAreNotShared(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := newUsers(1000, 8)
		type loan struct {
			owner string
			user  int
			back  func()
		}
		var loans []loan
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(loans) > 0 && rapid.Bool().Draw(t, "back") {
				i := rapid.IntRange(0, len(loans)-1).Draw(t, "which")
				loans[i].back()
				loans = append(loans[:i], loans[i+1:]...)
				continue
			}
			owner := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}).Draw(t, "owner")
			user, back, err := u.lend(owner)
			owners := map[string]bool{}
			for _, l := range loans {
				owners[l.owner] = true
			}
			if err != nil {
				require.Len(t, owners, 8, "only when all are in use")
				require.False(t, owners[owner])
				continue
			}
			require.True(t, user >= 1000 && user < 1008)
			for _, l := range loans {
				require.Equal(t, l.owner == owner, l.user == user)
			}
			loans = append(loans, loan{owner, user, back})
		}
	})
}

// What bubblewrap makes of a signal is turned back where the kernel does not tell.
func TestStandsFor(t *testing.T) {
	exited := func(code int) int { return int(standsFor(unix.WaitStatus(code << 8)).ExitStatus()) }
	require.Equal(t, 0, exited(0))
	require.Equal(t, 128, exited(128))
	require.Equal(t, 255, exited(255))
	require.True(t, standsFor(unix.WaitStatus(143<<8)).Signaled())
	require.Equal(t, 15, int(standsFor(unix.WaitStatus(143<<8)).Signal()))
	require.Equal(t, 9, int(standsFor(unix.WaitStatus(9)).Signal()), "bubblewrap itself was killed")
}

// Without a limit on a cgroup there is none to be made.
func TestGroupWithoutHierarchy(t *testing.T) {
	g, err := (&hierarchy{}).newGroup("p", nil, sandbox.Limits{}, 0)
	require.NoError(t, err)
	require.Zero(t, g.oomKills())
	g.kill()
	g.remove()
}
