package isolation

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// kernelFolders are windows into the kernel and to its devices and daemons, not
// files: whoever has them needs no escape.
var kernelFolders = []string{"/proc", "/sys", "/dev", "/run", "/var/run", "/boot"}

// reserved are the places inside that confinement itself fills.
var reserved = []string{"/proc", "/dev", "/sys"}

// CheckMounts returns the mounts with their sources resolved, or what is wrong
// with them: one must not show what undoes the confinement, such as the root or
// what is protected, the node's own files. Resolve is filepath.EvalSymlinks. Its
// errors are bad_spec.
func CheckMounts(mounts []sandbox.Mount, protected []string, resolve func(string) (string, error)) ([]sandbox.Mount, error) {
	checked := make([]sandbox.Mount, 0, len(mounts))
	for _, m := range mounts {
		source, err := checkSource(m.Source, protected, resolve)
		if err != nil {
			return nil, err
		}
		target, err := checkTarget(m.Target)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(checked, func(o sandbox.Mount) bool { return o.Target == target }) {
			return nil, errs.New(errs.BadSpec, "two mounts have the target %q: give each its own", target)
		}
		checked = append(checked, sandbox.Mount{Source: source, Target: target, ReadOnly: m.ReadOnly})
	}
	// What is below another comes after it, or it would be hidden.
	slices.SortStableFunc(checked, func(a, b sandbox.Mount) int { return len(a.Target) - len(b.Target) })
	return checked, nil
}

func checkSource(source string, protected []string, resolve func(string) (string, error)) (string, error) {
	if !filepath.IsAbs(source) {
		return "", errs.New(errs.BadSpec, "mount source %q is relative: make it absolute", source)
	}
	real, err := resolve(source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", errs.New(errs.BadSpec, "mount source %q does not exist on this node: make the folder, or run on the node that has it", source)
	case err != nil:
		return "", errs.Wrap(errs.BadSpec, err, "mount source %q cannot be used", source)
	case real == "/":
		return "", errs.New(errs.BadSpec, "mount source %q is the root of the machine, which would undo the isolation: name the folder that is needed", source)
	}
	for _, dir := range kernelFolders {
		if within(real, dir) {
			return "", errs.New(errs.BadSpec, "mount source %q is in %s, through which the machine can be changed: it cannot be mounted", source, dir)
		}
	}
	for _, path := range protected {
		if own, err := resolve(path); err == nil {
			path = own
		}
		if within(real, path) || within(path, real) {
			return "", errs.New(errs.BadSpec, "mount source %q shows files of the node itself (%s): name a folder without them", source, path)
		}
	}
	return real, nil
}

func checkTarget(target string) (string, error) {
	clean := filepath.Clean(target)
	if !filepath.IsAbs(target) {
		return "", errs.New(errs.BadSpec, "mount target %q is relative: make it absolute", target)
	}
	if clean == "/" {
		return "", errs.New(errs.BadSpec, "mount target %q is the root inside: name a folder below it", target)
	}
	for _, dir := range reserved {
		if within(clean, dir) {
			return "", errs.New(errs.BadSpec, "mount target %q is in %s, which the isolation fills itself: name another", target, dir)
		}
	}
	return clean, nil
}
