package isolation

import (
	"os"
	"path/filepath"
	"strings"
)

// systemFolders are the folders of the root that every program may read. What is
// personal or another's is not among them: /home, /root, /srv, /tmp, /var, /run.
var systemFolders = []string{"/bin", "/etc", "/gnu", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt", "/sbin", "/usr"}

// System is what programs see of this machine's files.
type System struct {
	Folders []string          // that are there, and no links
	Links   map[string]string // folders that are links, and where they lead
	Extra   []string          // files that a link in a folder leads to: the resolver's configuration
}

// FindSystem looks at the folders of the root.
func FindSystem() System {
	s := System{Links: map[string]string{}}
	for _, dir := range systemFolders {
		info, err := os.Lstat(dir)
		switch {
		case err != nil:
		case info.IsDir():
			s.Folders = append(s.Folders, dir)
		case info.Mode()&os.ModeSymlink != 0:
			if to, err := os.Readlink(dir); err == nil {
				s.Links[dir] = to
			}
		}
	}
	// Names are found with a file that is often elsewhere.
	if file, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil && !s.shows(file) {
		s.Extra = append(s.Extra, file)
	}
	return s
}

// shows reports whether a path without links in it is in a system folder.
func (s System) shows(path string) bool {
	for _, dir := range s.Folders {
		if within(path, dir) {
			return true
		}
	}
	return false
}

// within reports whether a clean path is a folder or below it.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// View maps what a program sees to the files of this machine.
type View struct {
	level  string
	system System
	mounts []sandboxMount
}

type sandboxMount struct{ target, source string }

// View is what a program of a plan sees.
func (s System) View(p Plan) View {
	v := View{level: p.Level, system: s}
	for _, m := range p.Mounts {
		v.mounts = append(v.mounts, sandboxMount{filepath.Clean(m.Target), m.Source})
	}
	return v
}

// Host returns the file of this machine that is at a path inside; false when the
// level hides it.
func (v View) Host(path string, resolve func(string) (string, error)) (string, bool) {
	path = filepath.Clean(path)
	var best sandboxMount
	for _, m := range v.mounts {
		if within(path, m.target) && len(m.target) > len(best.target) {
			best = m
		}
	}
	if best.target != "" {
		return filepath.Join(best.source, strings.TrimPrefix(path, best.target)), true
	}
	if v.level == "" || Rank(v.level) == 0 {
		return path, true
	}
	// Of links that lead out of what is seen only the name is seen.
	real, err := resolve(path)
	if err != nil {
		real = path
	}
	return path, v.system.shows(real) && (v.system.shows(path) || v.linked(path))
}

// linked reports whether a path is below a folder that is a link.
func (v View) linked(path string) bool {
	for dir := range v.system.Links {
		if within(path, dir) {
			return true
		}
	}
	return false
}
