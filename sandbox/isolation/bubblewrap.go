package isolation

import (
	"maps"
	"slices"
	"strconv"

	"github.com/glassbox-dev/glassbox/sandbox"
)

// Bubblewrap returns the arguments of bwrap(1) for a plan, up to the program. The
// places that can be written to, /tmp and /dev/shm, take at most tmpMB MiB each.
// Hidden files and folders of this machine, the node's own, are covered. Old
// leaves out what bubblewrap before 0.8 does not know; the filter of system calls
// has the same effect.
func Bubblewrap(s System, p Plan, tmpMB int, hidden Hidden, old bool) []string {
	args := []string{"--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"}
	if p.Network == sandbox.NetworkNone {
		args = append(args, "--unshare-net")
	}
	if !old {
		args = append(args, "--disable-userns")
	}
	args = append(args, "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox")
	for _, dir := range s.Folders {
		args = append(args, "--ro-bind", dir, dir)
	}
	for _, link := range slices.Sorted(maps.Keys(s.Links)) {
		args = append(args, "--symlink", s.Links[link], link)
	}
	size := strconv.Itoa(tmpMB << 20)
	args = append(args,
		"--proc", "/proc", "--dev", "/dev",
		"--size", size, "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev",
		"--size", size, "--perms", "1777", "--tmpfs", "/tmp",
		"--dir", "/var", "--dir", "/run")
	if slices.ContainsFunc(p.Mounts, func(m sandbox.Mount) bool { return within(m.Target, varTmp) }) {
		// Nothing can be mounted below a link.
		args = append(args, "--size", size, "--perms", "1777", "--tmpfs", varTmp)
	} else {
		args = append(args, "--symlink", "/tmp", varTmp)
	}
	for _, file := range s.Extra {
		args = append(args, "--ro-bind-try", file, file)
	}
	for _, dir := range hidden.Folders {
		if s.shows(dir) {
			args = append(args, "--tmpfs", dir, "--remount-ro", dir)
		}
	}
	for _, file := range hidden.Files {
		if s.shows(file) {
			args = append(args, "--ro-bind", "/dev/null", file)
		}
	}
	for _, m := range p.Mounts {
		how := "--bind"
		if m.ReadOnly {
			how = "--ro-bind"
		}
		args = append(args, how, m.Source, m.Target)
	}
	return append(args, "--remount-ro", "/")
}

const varTmp = "/var/tmp"

// Hidden are files and folders that no program may see, without links in them.
type Hidden struct{ Files, Folders []string }
