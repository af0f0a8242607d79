package exec

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// around splits a rule into rules that grant all of its folder but the exceptions:
// landlock grants whole folders and takes nothing back. So each entry beside an
// exception is granted by itself, down to it, and no link, for it may lead there. An
// entry that is made later is not granted, and a folder on the way can be listed only
// if the exceptions are files: the right to list it would be one to list them.
func around(root fs.FS, rule fileRule) []fileRule {
	var inside []string
	for _, hidden := range rule.Except {
		if inFolder(rule.Path, hidden) {
			return nil
		}
		if inFolder(hidden, rule.Path) {
			inside = append(inside, hidden)
		}
	}
	if len(inside) == 0 {
		return []fileRule{{Path: rule.Path, Rights: rule.Rights}}
	}
	entries, err := fs.ReadDir(root, rooted(rule.Path))
	if err != nil {
		return nil // there is none, or who cannot list it does without
	}
	var rules []fileRule
	if !slices.ContainsFunc(inside, func(hidden string) bool { return !isFile(root, hidden) }) {
		rules = append(rules, fileRule{Path: rule.Path, Rights: rule.Rights & unix.LANDLOCK_ACCESS_FS_READ_DIR})
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 {
			rules = append(rules, around(root, fileRule{Path: path.Join(rule.Path, e.Name()), Rights: rule.Rights, Except: inside})...)
		}
	}
	return rules
}

// protectedIn are those paths that are in a folder, or that it is in.
func protectedIn(folder string, paths []string) []string {
	var list []string
	for _, p := range paths {
		if inFolder(p, folder) || inFolder(folder, p) {
			list = append(list, p)
		}
	}
	return list
}

// isFile reports whether there is something at a path that is no folder. Of what
// is not there, nobody knows what it will be.
func isFile(root fs.FS, name string) bool {
	info, err := fs.Stat(root, rooted(name))
	return err == nil && !info.IsDir()
}

// rooted is a path as package fs has it.
func rooted(name string) string { return path.Join(".", strings.TrimPrefix(name, "/")) }

// inFolder reports whether a clean path is a folder or below it.
func inFolder(name, folder string) bool {
	return name == folder || folder == "/" || strings.HasPrefix(name, folder+"/")
}
