package isolation

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// without is a machine that lacks something.
func without(root bool, lacks ...Primitive) Machine {
	m := Machine{Root: root, Faults: map[Primitive]string{}}
	for _, p := range lacks {
		m.Faults[p] = "no " + string(p)
	}
	return m
}

func TestDecide(t *testing.T) {
	limits := sandbox.Limits{MemoryMB: 64, CPUs: 0.5, Pids: 10}
	mount := []sandbox.Mount{{Source: "/srv/x", Target: "/x"}}
	for _, tt := range []struct {
		name    string
		machine Machine
		want    Want
		level   string
		missing []string
		fault   string
	}{
		{"all there", without(true), Want{}, "namespaces", nil, ""},
		{"container as root", without(true, Namespaces, Network, MemoryLimit, CPULimit, PidsLimit), Want{Limits: limits}, "process", []string{"memory", "cpu", "pids"}, ""},
		{"user", without(false, UID, MemoryLimit, CPULimit, PidsLimit), Want{}, "namespaces", []string{"uid"}, ""},
		{"old kernel", without(true, OwnPorts, Scope), Want{}, "namespaces", []string{"scope", "own_ports"}, ""},
		{"old kernel, open API, as strong as can be", without(true, OwnPorts), Want{Open: true}, "namespaces", []string{"own_ports"}, ""},
		{"old kernel, open API", without(true, OwnPorts), Want{Open: true, Level: "process"}, "", nil, "start the node with --token-file"},
		{"old kernel, open API, demanded", without(true, OwnPorts), Want{Open: true, Require: "process"}, "", nil, "start the node with --token-file"},
		{"old kernel, open API, no network", without(true, OwnPorts), Want{Open: true, Level: "namespaces", Network: "none"}, "namespaces", nil, ""},
		{"old kernel, token", without(true, OwnPorts), Want{Level: "process"}, "process", []string{"own_ports"}, ""},
		{"mounts of what is there", without(true, Namespaces), Want{Mounts: []sandbox.Mount{{Source: "/x", Target: "/x", ReadOnly: true}}}, "process", nil, ""},
		{"nothing", Untried("x"), Want{}, "none", nil, ""},
		{"root that cannot drop", without(true, UID), Want{}, "process", []string{"uid"}, ""},
		{"weaker on purpose", without(true), Want{Level: "process"}, "process", nil, ""},
		{"no network without namespaces", without(true, Namespaces, Network), Want{Network: "none"}, "process", nil, ""},
		{"none with limits", without(true), Want{Level: "none", Limits: limits}, "none", nil, ""},
		{"too strong", without(true, Namespaces), Want{Level: "namespaces"}, "", nil, `cannot be had on this node (bubblewrap: no bubblewrap)`},
		{"root that cannot drop, namespaces", without(true, UID), Want{Level: "namespaces"}, "", nil, "uid: no uid"},
		{"demanded", without(true, Namespaces), Want{Require: "namespaces"}, "", nil, `demands isolation "namespaces", and the program would run with "process"`},
		{"demanded, and less is asked for", without(true), Want{Level: "none", Require: "process"}, "", nil, "ask for a stronger one"},
		{"mounts without namespaces", without(true, Namespaces), Want{Mounts: mount}, "", nil, `mounts need isolation "namespaces"`},
		{"no network and no isolation", without(true), Want{Level: "none", Network: "none"}, "", nil, "needs isolation"},
		{"unknown", without(true), Want{Level: "jail"}, "", nil, "use auto"},
		{"too few", without(true), Want{Limits: sandbox.Limits{CPUs: 0.001}}, "", nil, "at least 0.01"},
		{"negative", without(true), Want{Limits: sandbox.Limits{Pids: -1}}, "", nil, "pids is -1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Decide(tt.machine, tt.want)
			if tt.fault != "" {
				require.ErrorContains(t, err, tt.fault)
				require.Contains(t, []errs.Kind{errs.BadSpec, errs.Conflict}, errs.KindOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.level, p.Level)
			require.Equal(t, tt.missing, p.Missing)
		})
	}
}

// Whatever a machine has and a task wants: a plan keeps what it says.
func TestPlansAreTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := without(rapid.Bool().Draw(t, "root"), rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID).Draw(t, "lacks")...)
		w := Want{
			Level:   rapid.SampledFrom(append([]string{"", "auto"}, levels...)).Draw(t, "level"),
			Require: rapid.SampledFrom(append([]string{""}, levels...)).Draw(t, "require"),
			Network: rapid.SampledFrom([]string{"", "host", "none"}).Draw(t, "network"),
			Limits:  sandbox.Limits{MemoryMB: rapid.IntRange(0, 2).Draw(t, "memory"), Pids: rapid.IntRange(0, 2).Draw(t, "pids")},
		}
		p, err := Decide(m, w)
		if err != nil {
			require.NotEqual(t, errs.Internal, errs.KindOf(err))
			return
		}
		require.Empty(t, m.refuses(p.Level), "no level without what it needs")
		require.GreaterOrEqual(t, Rank(p.Level), Rank(w.Require))
		for _, have := range p.Have {
			require.True(t, m.Has(Primitive(have)) || Primitive(have) == Network && p.Level == "process")
			require.NotContains(t, p.Missing, have)
		}
		for _, group := range p.Groups {
			require.True(t, m.Has(Primitive(group)))
		}
		if p.Level == "namespaces" && m.Root {
			require.True(t, p.Drop, "bubblewrap is never called by root")
		}
		if p.Level == "none" {
			require.False(t, p.Drop)
		}
		if w.Network == "none" {
			require.NotEqual(t, "none", p.Level)
		}
	})
}

// resolving stands for the links of a machine.
func resolving(path string) (string, error) {
	switch {
	case strings.HasPrefix(path, "/no"):
		return "", fs.ErrNotExist
	case path == "/broken":
		return "", errors.New("too many links")
	case path == "/link":
		return "/", nil
	case path == "/data/up":
		return "/var/lib", nil
	}
	return path, nil
}

func TestCheckMounts(t *testing.T) {
	protected := []string{"/var/lib/glassbox", "/etc/glassbox/token"}
	for _, tt := range []struct{ source, target, fault string }{
		{"/srv/data", "/data", ""},
		{"/var/lib/other", "/data", ""},
		{"/var/lib/glassboxes", "/data", ""},
		{"/etc/glassbox2", "/data", ""},
		{"srv", "/data", "is relative"},
		{"/no/such", "/data", "does not exist on this node"},
		{"/broken", "/data", "cannot be used"},
		{"/", "/data", "root of the machine"},
		{"/link", "/data", "root of the machine"},
		{"/proc/1", "/data", "through which"},
		{"/sys", "/data", "through which"},
		{"/run/docker.sock", "/data", "through which"},
		{"/var/lib/glassbox", "/data", "files of the node itself"},
		{"/var/lib/glassbox/db", "/data", "files of the node itself"},
		{"/var/lib", "/data", "files of the node itself"},
		{"/data/up", "/data", "files of the node itself"},
		{"/etc", "/data", "files of the node itself"},
		{"/srv", "data", "is relative"},
		{"/srv", "/", "root inside"},
		{"/srv", "/x/..", "root inside"},
		{"/srv", "/proc/sys", "fills itself"},
		{"/srv", "/x/../dev", "fills itself"},
	} {
		got, err := CheckMounts([]sandbox.Mount{{Source: tt.source, Target: tt.target}}, protected, resolving)
		if tt.fault == "" {
			require.NoError(t, err, tt.source)
			require.Len(t, got, 1)
			continue
		}
		require.ErrorContains(t, err, tt.fault, tt.source)
		require.Equal(t, errs.BadSpec, errs.KindOf(err))
	}
	got, err := CheckMounts([]sandbox.Mount{{Source: "/a", Target: "/x/y/"}, {Source: "/b", Target: "/x"}}, nil, resolving)
	require.NoError(t, err)
	require.Equal(t, []sandbox.Mount{{Source: "/b", Target: "/x"}, {Source: "/a", Target: "/x/y"}}, got, "the outer one first")
	_, err = CheckMounts([]sandbox.Mount{{Source: "/a", Target: "/x"}, {Source: "/b", Target: "/x/"}}, nil, resolving)
	require.ErrorContains(t, err, "two mounts")
}

func TestView(t *testing.T) {
	s := System{Folders: []string{"/etc", "/usr"}, Links: map[string]string{"/bin": "usr/bin"}}
	resolve := func(path string) (string, error) {
		switch {
		case path == "/usr/bin/out":
			return "/home/me/out", nil
		case strings.HasPrefix(path, "/bin/"):
			return "/usr" + path, nil
		}
		return path, nil
	}
	p := Plan{Mounts: []sandbox.Mount{{Source: "/srv/a", Target: "/data"}, {Source: "/srv/b", Target: "/data/in"}}}
	for _, tt := range []struct {
		level, path, host string
		seen              bool
	}{
		{"none", "/home/me/x", "/home/me/x", true},
		{"process", "/usr/bin/env", "/usr/bin/env", true},
		{"process", "/bin/sh", "/bin/sh", true},
		{"process", "/home/me/x", "/home/me/x", false},
		{"namespaces", "/usr/bin/out", "/usr/bin/out", false},
		{"namespaces", "/usr/../home/x", "/home/x", false},
		{"namespaces", "/usrx/y", "/usrx/y", false},
		{"namespaces", "/data/tool", "/srv/a/tool", true},
		{"namespaces", "/data/in/tool", "/srv/b/tool", true},
	} {
		p.Level = tt.level
		host, seen := s.View(p).Host(tt.path, resolve)
		require.Equal(t, tt.host, host, tt.path)
		require.Equal(t, tt.seen, seen, tt.path)
	}
}

func TestBubblewrapArguments(t *testing.T) {
	s := System{Folders: []string{"/etc", "/usr"}, Links: map[string]string{"/bin": "usr/bin"}}
	p := Plan{Network: "host", Mounts: []sandbox.Mount{{Source: "/a", Target: "/x"}, {Source: "/b", Target: "/y", ReadOnly: true}}}
	text := func(network string, old bool) string {
		p.Network = network
		return strings.Join(Bubblewrap(s, p, 2, Hidden{Files: []string{"/etc/key", "/root/key"}, Folders: []string{"/etc/own"}}, old), " ") + " "
	}
	host := text("host", false)
	for _, part := range []string{
		"--unshare-user ", "--unshare-pid ", "--disable-userns ", "--die-with-parent ", "--cap-drop ALL ", "--ro-bind /usr /usr ",
		"--symlink usr/bin /bin ", "--size 2097152 --perms 1777 --tmpfs /tmp ", "--bind /a /x ", "--ro-bind /b /y ",
		"--ro-bind /dev/null /etc/key ", "--tmpfs /etc/own ",
	} {
		require.Contains(t, host, part)
	}
	require.NotContains(t, host, "/root/key", "nobody sees it anyway")
	require.NotContains(t, host, "--unshare-net")
	require.Contains(t, text("none", false), "--unshare-net ")
	require.NotContains(t, text("host", true), "--disable-userns")
	require.True(t, strings.HasSuffix(host, "--remount-ro / "), "after all that is made below it")
}

// The filter judges calls as the kernel would. Its program is run here by the
// interpreter of x/net/bpf, which reads numbers in the network's order.
func TestFilter(t *testing.T) {
	const errno, allow = 0x00050000, 0x7fff0000
	native := nativeArch()
	for _, network := range []string{sandbox.NetworkHost, sandbox.NetworkNone} {
		raw, err := Filter(network)
		require.NoError(t, err)
		vm := interpreter(t, raw)
		judge := func(arch uint32, call int, args ...uint64) int {
			data := make([]byte, 64)
			put := func(at int, v uint32) { copy(data[at:], []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}) }
			put(0, uint32(call))
			put(4, arch)
			for i, a := range args {
				put(16+8*i, uint32(a))
				put(20+8*i, uint32(a>>32))
			}
			got, err := vm.Run(data)
			require.NoError(t, err)
			return got
		}
		eperm, enosys := errno|int(unix.EPERM), errno|int(unix.ENOSYS)
		for _, call := range []int{unix.SYS_KEYCTL, unix.SYS_PTRACE, unix.SYS_UNSHARE, unix.SYS_IO_URING_SETUP, unix.SYS_USERFAULTFD, unix.SYS_MOUNT, unix.SYS_OPEN_BY_HANDLE_AT} {
			require.Equal(t, eperm, judge(native, call))
			require.Equal(t, enosys, judge(unix.AUDIT_ARCH_I386, call), "of another ABI")
		}
		require.Equal(t, enosys, judge(native, unix.SYS_CLONE3))
		for _, call := range []int{unix.SYS_OPENAT, unix.SYS_READ, unix.SYS_EXECVE, unix.SYS_FUTEX} {
			require.Equal(t, allow, judge(native, call))
		}
		require.Equal(t, allow, judge(native, unix.SYS_CLONE, uint64(unix.SIGCHLD|unix.CLONE_VM|unix.CLONE_VFORK)))
		for _, flag := range newNamespaces {
			require.Equal(t, eperm, judge(native, unix.SYS_CLONE, flag|uint64(unix.SIGCHLD)))
		}
		const rttime = unix.RLIMIT_RTTIME
		require.Equal(t, eperm, judge(native, unix.SYS_SETRLIMIT, rttime, 1))
		require.Equal(t, eperm, judge(native, unix.SYS_SETRLIMIT, 1<<40|rttime, 1), "by its low half alone")
		require.Equal(t, eperm, judge(native, unix.SYS_PRLIMIT64, 0, rttime, 1))
		require.Equal(t, allow, judge(native, unix.SYS_PRLIMIT64, 0, rttime, 0, 1), "it can be read")
		for other := range uint64(rttime) {
			require.Equal(t, allow, judge(native, unix.SYS_SETRLIMIT, other, 1))
			require.Equal(t, allow, judge(native, unix.SYS_PRLIMIT64, 0, other, 1))
		}
		inet := allow
		if network == sandbox.NetworkNone {
			inet = eperm
		}
		require.Equal(t, inet, judge(native, unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0))
		require.Equal(t, allow, judge(native, unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0))
		const vsock, mptcp, high = 40, 262, 1 << 40
		for _, bits := range []uint64{0, high} {
			require.Equal(t, eperm, judge(native, unix.SYS_SOCKET, vsock|bits, unix.SOCK_STREAM, 0))
			require.Equal(t, eperm, judge(native, unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, mptcp|bits))
			require.Equal(t, eperm, judge(native, unix.SYS_SENDTO, 3, 0, 0, fastOpen|bits, 0, 0))
		}
		require.Equal(t, allow, judge(native, unix.SYS_SENDTO, 3, 0, 0, unix.MSG_NOSIGNAL, 0, 0))
	}
}

// More calls can be closed, and are open else.
func TestFilterCloses(t *testing.T) {
	for _, more := range [][]string{nil, SharedObjects} {
		raw, err := Filter(sandbox.NetworkHost, more...)
		require.NoError(t, err)
		vm := interpreter(t, raw)
		for _, call := range []int{unix.SYS_SHMGET, unix.SYS_MSGGET, unix.SYS_SEMGET} {
			data := make([]byte, 64)
			binary.BigEndian.PutUint32(data, uint32(call))
			binary.BigEndian.PutUint32(data[4:], nativeArch())
			got, err := vm.Run(data)
			require.NoError(t, err)
			if more == nil {
				require.Equal(t, 0x7fff0000, got, "allowed")
			} else {
				require.Equal(t, 0x00050000|int(unix.EPERM), got)
			}
		}
	}
}

// nativeArch is how seccomp names this processor.
func nativeArch() uint32 {
	if unix.SYS_OPENAT != 257 {
		return unix.AUDIT_ARCH_AARCH64
	}
	return unix.AUDIT_ARCH_X86_64
}

// interpreter runs a packed program.
func interpreter(t *testing.T, packed []byte) *bpf.VM {
	t.Helper()
	var raw []bpf.RawInstruction
	for i := range slices.Chunk(packed, 8) {
		raw = append(raw, bpf.RawInstruction{
			Op: uint16(i[0]) | uint16(i[1])<<8, Jt: i[2], Jf: i[3],
			K: uint32(i[4]) | uint32(i[5])<<8 | uint32(i[6])<<16 | uint32(i[7])<<24,
		})
	}
	program, whole := bpf.Disassemble(raw)
	require.True(t, whole)
	vm, err := bpf.NewVM(program)
	require.NoError(t, err)
	return vm
}
