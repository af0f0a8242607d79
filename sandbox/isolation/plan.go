package isolation

import (
	"slices"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// Want is what a task asks for.
type Want struct {
	Level   string // a level, or auto; "" is auto
	Require string // what the node demands at least; "" is none
	Network string // host or none; "" is host
	Mounts  []sandbox.Mount
	Limits  sandbox.Limits
}

// Plan is how a program is to be confined.
type Plan struct {
	memdb.Isolation
	Network string
	Mounts  []sandbox.Mount // with their sources resolved
	Limits  sandbox.Limits
	Drop    bool     // give it the user of its sandbox
	Groups  []string // the cgroups it is to be in: memory, cpu, pids
	Rlimits []Rlimit // in place of the cgroups that cannot be had
	Scope   bool     // landlock's scope is there
}

// Shim reports whether something is to be done between the fork and the program.
func (p Plan) Shim() bool {
	return p.Level != sandbox.IsolationNone || len(p.Groups) > 0 || len(p.Rlimits) > 0
}

// Decide says how a program is confined on a machine. Kinds: bad_spec (what is
// asked for contradicts itself, or cannot be had anywhere), conflict (it cannot
// be had on this machine, or the node demands more).
func Decide(m Machine, w Want) (Plan, error) {
	w.Network = orElse(w.Network, sandbox.NetworkHost)
	w.Level = orElse(w.Level, sandbox.IsolationAuto)
	level, err := choose(m, w)
	if err != nil {
		return Plan{}, err
	}
	if err := possible(w.Limits); err != nil {
		return Plan{}, err
	}
	p := Plan{Network: w.Network, Mounts: w.Mounts, Limits: w.Limits}
	p.Level = level
	for _, use := range uses(level, w) {
		if m.Has(use) || use == Network && level == sandbox.IsolationProcess { // there the filter does it
			p.Have = append(p.Have, string(use))
		} else {
			p.Missing = append(p.Missing, string(use))
		}
	}
	p.Drop = level != sandbox.IsolationNone && m.Root && m.Has(UID)
	p.Scope = level != sandbox.IsolationNone && m.Has(Scope)
	p.bound(m, w)
	return p, nil
}

// choose picks the level.
func choose(m Machine, w Want) (string, error) {
	level := w.Level
	if level == sandbox.IsolationAuto {
		level = m.Strongest()
	}
	switch {
	case Rank(level) < 0:
		return "", errs.New(errs.BadSpec, "isolation is %q: use auto, none, process or namespaces", level)
	case Rank(level) < Rank(w.Require):
		return "", errs.New(errs.Conflict, "this node demands isolation %q, and the program would run with %q: %s", w.Require, level, m.because(w))
	case m.refuses(level) != "":
		return "", errs.New(errs.Conflict, "isolation %q cannot be had on this node (%s): run it on another node, or with isolation %q, the strongest here",
			level, m.refuses(level), m.Strongest())
	case level != sandbox.IsolationNamespaces && slices.ContainsFunc(w.Mounts, moves):
		return "", errs.New(errs.Conflict, "mounts need isolation %q, and the program would run with %q: %s", sandbox.IsolationNamespaces, level, m.because(w))
	case w.Network == sandbox.NetworkNone && level == sandbox.IsolationNone:
		return "", errs.New(errs.Conflict, "network %q needs isolation %q or more, and the program would run with %q: %s",
			w.Network, sandbox.IsolationProcess, level, m.because(w))
	case w.Network == sandbox.NetworkNone && level == sandbox.IsolationNamespaces && !m.Has(Network):
		return "", errs.New(errs.Conflict, "network %q cannot be had on this node: %s", w.Network, m.Faults[Network])
	}
	return level, nil
}

// moves reports whether a mount shows what is not there already: below namespaces a
// program sees the machine's own files, to be read, where they are.
func moves(m sandbox.Mount) bool { return m.Source != m.Target || !m.ReadOnly }

// because says why the level is no stronger, and what to do.
func (m Machine) because(w Want) string {
	if w.Level != sandbox.IsolationAuto {
		return "ask for a stronger one, or for auto"
	}
	if why := m.refuses(sandbox.IsolationNamespaces); why != "" {
		return "this machine has no stronger one (" + why + ")"
	}
	return "ask for a stronger one"
}

// Demand says why a node cannot demand a level on this machine; nil if it can.
// Its kind is conflict.
func Demand(m Machine, level string) error {
	if why := m.refuses(level); why != "" {
		return errs.New(errs.Conflict, "the node is to require isolation %q, which this machine cannot give (%s): "+
			"repair that, or require no more than %q", level, why, m.Strongest())
	}
	return nil
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
