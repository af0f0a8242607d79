package exec

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
		if owned(folder) && os.RemoveAll(folder) == nil {
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

// newWork makes the work folder of one program.
func newWork(parent, id string, user int) (string, error) {
	dir := filepath.Join(parent, strings.ReplaceAll(id, "/", "-"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a work folder: %w", err)
	}
	if user != 0 {
		if err := os.Chown(dir, user, user); err != nil {
			return "", fmt.Errorf("give a work folder to its user: %w", err)
		}
	}
	return dir, nil
}

// ownerOf is the user whose file it is.
func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}
