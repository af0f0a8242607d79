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

// lookup finds the program of a task. Its errors are definite and say what to
// do; their kind is bad_spec.
func lookup(task sandbox.Task) (string, error) {
	if len(task.Exec) == 0 || task.Exec[0] == "" {
		return "", errs.New(errs.BadSpec, "no program is named: give its path or name as the first element of exec")
	}
	name := task.Exec[0]
	switch {
	case filepath.IsAbs(name):
		return name, runnable(name)
	case strings.Contains(name, "/"):
		return "", errs.New(errs.BadSpec, "program %q is a relative path: make it absolute, or give a name to be found in PATH", name)
	}
	path, given := task.Env["PATH"]
	if !given {
		path = DefaultPath
	}
	return search(name, path)
}

// search looks for a program in the absolute folders of a PATH.
func search(name, path string) (string, error) {
	var unfit error
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, name)
		err := runnable(file)
		if err == nil {
			return file, nil
		}
		if _, there := os.Stat(file); there == nil && unfit == nil {
			unfit = err
		}
	}
	if unfit != nil {
		return "", unfit
	}
	return "", errs.New(errs.BadSpec, "program %q was not found in PATH %s: install it, name it by its absolute path, or set PATH in the child's env", name, path)
}

// runnable says why a file cannot be run as a program, nil if it can.
func runnable(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errs.New(errs.BadSpec, "program %q does not exist on this machine: install it, or correct the path", file)
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
func workDir(dir string) (string, error) {
	if dir == "" {
		dir = sandbox.DefaultDir
	}
	if !filepath.IsAbs(dir) {
		return "", errs.New(errs.BadSpec, "working directory %q is relative: make it absolute", dir)
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", errs.Wrap(errs.BadSpec, err, "working directory %q cannot be used", dir)
	case !info.IsDir():
		return "", errs.New(errs.BadSpec, "working directory %q is no directory", dir)
	}
	return dir, nil
}
