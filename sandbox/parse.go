package sandbox

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// MaxSpecBytes bounds a spec, which every node keeps.
const MaxSpecBytes = 256 << 10

// Parse reads a spec strictly: an unknown, repeated or ill-typed field is a
// fault, and so is all that [Spec.Validate] finds. The error, of kind bad_spec,
// lists every fault with its JSON pointer. Defaults are not filled in.
func Parse(raw []byte) (Spec, error) {
	if len(raw) > MaxSpecBytes {
		return Spec{}, errs.New(errs.TooLarge, "the spec has %d bytes; at most %d travel to every node: put bulk into files", len(raw), MaxSpecBytes)
	}
	var s Spec
	err := parse(raw, "spec", func(f *faults) { s = f.spec(raw) }, func(f *faults) { s.check(f) })
	return s, err
}

// parse reads a document and then checks what was read of it, and returns all
// faults.
func parse(raw []byte, what string, read, check func(*faults)) error {
	if err := checkJSON(raw); err != nil {
		return errs.Wrap(errs.BadSpec, err, "the %s is not valid JSON", what).
			WithFaults([]errs.Fault{{Pointer: "", Message: err.Error()}})
	}
	var f, more faults
	read(&f)
	// What could not be read is left out: nothing more is to be told of it.
	known := f.list
	check(&more)
	for _, fault := range more.list {
		if !slices.ContainsFunc(known, func(k errs.Fault) bool {
			return fault.Pointer == k.Pointer || strings.HasPrefix(fault.Pointer, k.Pointer+"/")
		}) {
			f.list = append(f.list, fault)
		}
	}
	return f.err()
}

// Wants, for messages.
const (
	aText     = "a text"
	anInteger = "an integer"
)

func (f *faults) spec(raw json.RawMessage) (s Spec) {
	f.members("", raw, readers{
		"id":           into(f, &s.ID, aText),
		"labels":       f.texts(&s.Labels),
		"strategy":     into(f, &s.Strategy, aText),
		"max_restarts": into(f, &s.MaxRestarts, anInteger),
		"max_seconds":  into(f, &s.MaxSeconds, anInteger),
		"children":     f.children(&s.Children),
		"isolation":    into(f, &s.Isolation, aText),
		"network":      into(f, &s.Network, aText),
		"mounts": f.each(func(at string, raw json.RawMessage) {
			s.Mounts = append(s.Mounts, f.mount(at, raw))
		}),
		"placement": func(at string, raw json.RawMessage) {
			s.Placement = f.placement(at, raw)
		},
		"failover": into(f, &s.Failover, aText),
	})
	return s
}

// ParseChild reads one child as [Parse] reads a spec.
func ParseChild(raw []byte) (Child, error) {
	if len(raw) > MaxSpecBytes {
		return Child{}, errs.New(errs.TooLarge, "the child has %d bytes; a whole spec has at most %d: put bulk into files", len(raw), MaxSpecBytes)
	}
	var c Child
	err := parse(raw, "child", func(f *faults) { c = f.child("", raw) }, func(f *faults) { c.check(f, "", 1) })
	return c, err
}

// children reads a list of children; an empty one is not the same as none.
func (f *faults) children(target *[]Child) func(string, json.RawMessage) {
	return func(at string, raw json.RawMessage) {
		*target = []Child{}
		f.each(func(at string, raw json.RawMessage) { *target = append(*target, f.child(at, raw)) })(at, raw)
	}
}

func (f *faults) child(at string, raw json.RawMessage) (c Child) {
	f.members(at, raw, readers{
		"id":           into(f, &c.ID, aText),
		"run":          func(at string, raw json.RawMessage) { c.Run = f.run(at, raw) },
		"name":         into(f, &c.Name, aText),
		"restart":      into(f, &c.Restart, aText),
		"shutdown_ms":  into(f, &c.ShutdownMS, anInteger),
		"env":          f.texts(&c.Env),
		"limits":       func(at string, raw json.RawMessage) { c.Limits = f.limits(at, raw) },
		"protocol":     into(f, &c.Protocol, aText),
		"strategy":     into(f, &c.Strategy, aText),
		"max_restarts": into(f, &c.MaxRestarts, anInteger),
		"max_seconds":  into(f, &c.MaxSeconds, anInteger),
		"children":     f.children((*[]Child)(&c.Children)),
	})
	return c
}

func (f *faults) run(at string, raw json.RawMessage) *Run {
	r := new(Run)
	f.members(at, raw, readers{
		"exec": f.each(func(at string, raw json.RawMessage) {
			var arg string
			into(f, &arg, aText)(at, raw)
			r.Exec = append(r.Exec, arg)
		}),
		"dir": into(f, &r.Dir, aText),
	})
	return r
}

func (f *faults) limits(at string, raw json.RawMessage) *Limits {
	l := new(Limits)
	f.members(at, raw, readers{
		"memory_mb": into(f, &l.MemoryMB, anInteger),
		"cpus":      into(f, &l.CPUs, "a number"),
		"pids":      into(f, &l.Pids, anInteger),
		"output_mb": into(f, &l.OutputMB, anInteger),
		"time_s":    into(f, &l.TimeS, anInteger),
	})
	return l
}

func (f *faults) mount(at string, raw json.RawMessage) (m Mount) {
	f.members(at, raw, readers{
		"source":   into(f, &m.Source, aText),
		"target":   into(f, &m.Target, aText),
		"readonly": into(f, &m.ReadOnly, "true or false"),
	})
	return m
}

func (f *faults) placement(at string, raw json.RawMessage) *Placement {
	p := new(Placement)
	f.members(at, raw, readers{
		"node":   into(f, &p.Node, aText),
		"spread": into(f, &p.Spread, "true or false"),
	})
	return p
}
