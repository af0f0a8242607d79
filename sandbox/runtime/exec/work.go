package exec

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// openWork makes the folder in which programs at the level process have theirs,
// and removes those of former lives of the node.
func openWork(node string, log *slog.Logger) (string, error) {
	prefix, name := lives(node)
	parent := os.TempDir()
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		serial, _, found := strings.Cut(strings.TrimPrefix(e.Name(), prefix), ".")
		if !e.IsDir() || !found || !over(prefix+serial, prefix) {
			continue
		}
		folder := filepath.Join(parent, e.Name())
		if !owned(folder) {
			continue
		}
		unmountBelow(folder)
		if os.RemoveAll(folder) == nil {
			log.Info("work folders that an ended node of this name has left were removed", "folder", folder)
		}
	}
	// Not a name that somebody could guess and have made before.
	dir, err := os.MkdirTemp(parent, name+".")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) // others reach their own below it, and do not see what is there
}

// owned reports whether a folder is this user's: everybody may make one in /tmp.
func owned(folder string) bool {
	info, err := os.Lstat(folder)
	return err == nil && info.IsDir() && ownerOf(info) == os.Geteuid()
}

// newWork makes the work folder of one program: of so many MiB, on a file system of
// its own; 0 is on the disk, without a bound.
func newWork(parent, id string, user, sizeMB int) (string, error) {
	dir := filepath.Join(parent, strings.ReplaceAll(id, "/", "-"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a work folder: %w", err)
	}
	var err error
	switch {
	case sizeMB > 0:
		if err = mountWork(dir, user, sizeMB); err != nil {
			err = fmt.Errorf("mount a work folder of %d MiB: %w", sizeMB, err)
		}
	case user != 0:
		if err = os.Chown(dir, user, user); err != nil {
			err = fmt.Errorf("give a work folder to its user: %w", err)
		}
	}
	if err != nil {
		_ = os.Remove(dir)
		return "", err
	}
	return dir, nil
}

// filesPerMB bounds the files of a work folder: as many as it has pages, for an
// empty one takes memory too.
const filesPerMB = 1 << 20 / 4096

// mountWork mounts memory that is a user's on a folder.
func mountWork(dir string, user, sizeMB int) error {
	options := fmt.Sprintf("size=%dm,nr_inodes=%d,mode=0700,uid=%d,gid=%d", sizeMB, sizeMB*filesPerMB, user, user)
	return unix.Mount("glassbox-work", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
}

// mayMount finds out whether this node can give its programs' folders a bound.
func mayMount(parent string, user int) bool {
	dir, err := newWork(parent, "trial", user, 1)
	if err != nil {
		return false
	}
	removeWork(dir)
	return true
}

// removeWork removes a work folder. What is mounted there goes with all that is in
// it, whoever may still look on.
func removeWork(dir string) {
	_ = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // an error if nothing is
	_ = os.RemoveAll(dir)
}

// unmountBelow unmounts what nodes have mounted below a folder.
func unmountBelow(folder string) {
	mountinfo, _ := os.ReadFile("/proc/self/mountinfo")
	for _, dir := range mountsBelow(string(mountinfo), folder) {
		_ = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // what stays is seen by whoever removes the folder
	}
}

// mountsBelow lists the mounts below a folder, as /proc/self/mountinfo has them, the
// last one first.
func mountsBelow(mountinfo, folder string) []string {
	// Blanks in a path are told by their octal number.
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var dirs []string
	for line := range strings.Lines(mountinfo) {
		const at = 4
		if f := strings.Fields(line); len(f) > at {
			if dir := plain.Replace(f[at]); strings.HasPrefix(dir, folder+"/") {
				dirs = append(dirs, dir)
			}
		}
	}
	slices.Reverse(dirs)
	return dirs
}

// ownerOf is the user whose file it is.
func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}
