package isolation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/glassbox-dev/glassbox/sandbox"
)

// levels are the levels, the weakest first.
var levels = []string{sandbox.IsolationNone, sandbox.IsolationProcess, sandbox.IsolationNamespaces}

// Rank is a level's place among the levels, the weakest is 0; -1 for no level.
func Rank(level string) int { return slices.Index(levels, level) }

// needs are the primitives without which a level would be a lie.
func (m Machine) needs(level string) []Primitive {
	switch level {
	case sandbox.IsolationProcess:
		return []Primitive{NoNewPrivs, Seccomp, Landlock}
	case sandbox.IsolationNamespaces:
		if m.Root { // bubblewrap called by root is escapable
			return []Primitive{Namespaces, UID, NoNewPrivs, Seccomp}
		}
		return []Primitive{Namespaces, NoNewPrivs, Seccomp}
	default:
		return nil
	}
}

// refuses says why a level cannot be had here; "" when it can.
func (m Machine) refuses(level string) string {
	var why []string
	for _, p := range m.needs(level) {
		if !m.Has(p) {
			why = append(why, fmt.Sprintf("%s: %s", p, m.Faults[p]))
		}
	}
	return strings.Join(why, "; ")
}

// uses are the primitives that hold a program at a level where they work.
func uses(level string, w Want) []Primitive {
	var list []Primitive
	switch level {
	case sandbox.IsolationProcess:
		list = []Primitive{UID, NoNewPrivs, Seccomp, Landlock, Scope, WorkFolder}
	case sandbox.IsolationNamespaces:
		list = []Primitive{Namespaces, UID, NoNewPrivs, Seccomp, Scope, WorkFolder}
	}
	if len(list) > 0 {
		if w.Network == sandbox.NetworkNone {
			list = append(list, Network)
		} else {
			list = append(list, OwnPorts)
		}
	}
	return append(list, w.limited()...)
}

// limited are the cgroups that the wanted limits are for.
func (w Want) limited() []Primitive {
	var list []Primitive
	for _, l := range []struct {
		wanted bool
		by     Primitive
	}{{w.Limits.MemoryMB > 0, MemoryLimit}, {w.Limits.CPUs > 0, CPULimit}, {w.Limits.Pids > 0, PidsLimit}} {
		if l.wanted {
			list = append(list, l.by)
		}
	}
	return list
}
