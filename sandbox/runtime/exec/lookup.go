package exec

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// DefaultPath is the PATH of a program whose environment names none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environ makes a program's whole environment, sorted: what the task says, a
// PATH, and the mark. Nothing of the node's own environment is in it.
func environ(task sandbox.Task) []string {
	env := []string{markName + "=" + task.PID}
	if _, given := task.Env["PATH"]; !given {
		env = append(env, "PATH="+DefaultPath)
	}
	for name, value := range task.Env {
		if name != markName {
			env = append(env, name+"="+value)
		}
	}
	slices.Sort(env)
	return env
}

// sight is what a program sees of the machine's files.
type sight struct {
	view   isolation.View
	level  string
	binary string // the node's own program, which can be run wherever it is
}

// host returns the file of the machine that a program sees at a path, or why it
// sees none.
func (s sight) host(what, path string) (string, error) {
	file, seen := s.view.Host(path, filepath.EvalSymlinks)
	if seen {
		return file, nil
	}
	if _, err := os.Stat(file); err != nil {
		return file, nil // it is nowhere: that is the better complaint
	}
	if s.level == sandbox.IsolationNamespaces {
		return "", errs.New(errs.BadSpec, "%s %q exists, but isolation %q hides it: only the system's folders (such as /usr and /opt) are seen inside: "+
			"mount its folder, or use another isolation", what, path, s.level)
	}
	return "", errs.New(errs.BadSpec, "%s %q exists, but isolation %q does not let it be used: only the system's folders (such as /usr and /opt) are: "+
		"move it there, or use another isolation", what, path, s.level)
}

// lookup finds the program of a task: its path as the program sees it, and
// whether it is the node's own. Its errors are definite and say what to do; their
// kind is bad_spec.
func lookup(task sandbox.Task, see sight) (path string, own bool, err error) {
	if len(task.Exec) == 0 || task.Exec[0] == "" {
		return "", false, errs.New(errs.BadSpec, "no program is named: give its path or name as the first element of exec")
	}
	name := task.Exec[0]
	switch {
	case filepath.IsAbs(name):
		if see.own(name) {
			return name, true, runnable(name)
		}
		return name, false, see.runnable(name)
	case strings.Contains(name, "/"):
		return "", false, errs.New(errs.BadSpec, "program %q is a relative path: make it absolute, or give a name to be found in PATH", name)
	}
	dirs, given := task.Env["PATH"]
	if !given {
		dirs = DefaultPath
	}
	path, err = search(name, dirs, see)
	return path, false, err
}

// own reports whether a path is the node's own program.
func (s sight) own(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	return err == nil && s.binary != "" && real == s.binary
}

// search looks for a program in the absolute folders of a PATH.
func search(name, path string, see sight) (string, error) {
	var unfit error
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, name)
		err := see.runnable(file)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && unfit == nil {
			unfit = err
		}
	}
	if unfit != nil {
		return "", unfit
	}
	return "", errs.New(errs.BadSpec, "program %q was not found in PATH %s: install it, name it by its absolute path, or set PATH in the child's env", name, path)
}

// runnable says why a file cannot be run as a program, nil if it can.
func (s sight) runnable(path string) error {
	file, err := s.host("program", path)
	if err != nil {
		return err
	}
	return runnable(file)
}

// runnable says why a file of the machine cannot be run as a program, nil if it
// can.
func runnable(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errs.Wrap(errs.BadSpec, err, "program %q does not exist on this machine: install it, or correct the path", file)
	case err != nil:
		return errs.Wrap(errs.BadSpec, err, "program %q cannot be looked at", file)
	case info.IsDir():
		return errs.New(errs.BadSpec, "program %q is a directory: name a file in it", file)
	case unix.Access(file, unix.X_OK) != nil:
		return errs.New(errs.BadSpec, "program %q is not executable: allow it with chmod +x, or name another", file)
	}
	return nil
}

// workDir returns the directory a task runs in, or what is wrong with it.
func workDir(dir string, see sight) (string, error) {
	if dir == "" || dir == sandbox.DefaultDir {
		return sandbox.DefaultDir, nil
	}
	if !filepath.IsAbs(dir) {
		return "", errs.New(errs.BadSpec, "working directory %q is relative: make it absolute", dir)
	}
	if see.level == sandbox.IsolationNamespaces && filepath.Clean(dir) == "/tmp" {
		return dir, nil // its own
	}
	file, err := see.host("working directory", dir)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return "", errs.Wrap(errs.BadSpec, err, "working directory %q cannot be used", dir)
	case !info.IsDir():
		return "", errs.New(errs.BadSpec, "working directory %q is no directory", dir)
	}
	return dir, nil
}
