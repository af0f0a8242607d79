package sandbox

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Limits of a spec.
const (
	maxChildren    = 256
	maxProgramSize = 96 << 10 // bytes of a child's arguments and environment
	maxLabelsSize  = 4 << 10  // bytes of all labels, which every list of sandboxes shows
	maxSeconds     = 1 << 30  // of any time: 34 years, so that none overflows
)

var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Validate checks the spec. Its error, of kind bad_spec, lists every fault with
// its JSON pointer. It changes nothing.
func (s Spec) Validate() error {
	var f faults
	s.check(&f)
	return f.err()
}

// check adds the faults of the spec.
func (s Spec) check(f *faults) {
	f.id("/id", s.ID)
	s.checkLabels(f)
	f.strategy("/strategy", s.Strategy)
	f.number("/max_restarts", s.MaxRestarts, 0)
	f.number("/max_seconds", s.MaxSeconds, 1)
	s.checkChildren(f)
	f.choice("/isolation", s.Isolation, []string{IsolationAuto, IsolationNone},
		[]string{"process", "container", "namespace"})
	f.choice("/network", s.Network, []string{NetworkHost}, []string{"none", "private"})
	if len(s.Mounts) > 0 {
		f.notYet("/mounts", "mounts")
	}
	if s.Placement != nil && s.Placement.Spread {
		f.notYet("/placement/spread", "spreading")
	}
	f.choice("/failover", s.Failover, []string{FailoverAny, FailoverNone}, []string{"majority"})
}

func (s Spec) checkLabels(f *faults) {
	size := 0
	for name, value := range s.Labels {
		if size += len(name) + len(value); name == "" {
			f.add("/labels/", "a label needs a name")
		}
	}
	if size > maxLabelsSize {
		f.add("/labels", "have %d bytes and may have %d: put what is not for finding a sandbox elsewhere", size, maxLabelsSize)
	}
}

func (s Spec) checkChildren(f *faults) {
	if len(s.Children) == 0 || len(s.Children) > maxChildren {
		f.add("/children", "has %d children: give 1 to %d", len(s.Children), maxChildren)
	}
	first := make(map[string]int)
	for i, c := range s.Children {
		at := pointer("children", i)
		c.check(f, at)
		if j, twice := first[c.ID]; twice && c.ID != "" {
			f.add(at+"/id", "%q is also the id of child %d: give each child its own", c.ID, j)
		} else {
			first[c.ID] = i
		}
	}
}

func (c Child) check(f *faults, at string) {
	f.id(at+"/id", c.ID)
	nested := c.Strategy != "" || c.MaxRestarts != nil || c.MaxSeconds != nil || c.Children != nil
	switch {
	case nested:
		f.notYet(at, "nested supervisors (strategy, max_restarts, max_seconds or children of a child)")
	case c.Run == nil:
		f.add(at+"/run", `is missing: say what to run, as {"exec": ["program", "argument"]}`)
	}
	if c.Run != nil {
		c.checkRun(f, at)
	}
	if c.Name != "" {
		f.notYet(at+"/name", "registered names")
	}
	f.choice(at+"/restart", c.Restart, []string{"permanent", "transient", "temporary"}, nil)
	f.number(at+"/shutdown_ms", c.ShutdownMS, 0)
	f.choice(at+"/protocol", c.Protocol, []string{ProtocolJSONRPC}, nil)
	c.checkEnv(f, at+"/env")
	if c.Limits != nil {
		f.notYet(at+"/limits", "limits")
	}
}

func (c Child) checkRun(f *faults, at string) {
	size := 0
	for i, arg := range c.Run.Exec {
		size += len(arg)
		f.noZero(at+"/run/exec"+pointer(i), arg)
	}
	for name, value := range c.Env {
		size += len(name) + len(value)
	}
	switch {
	case len(c.Run.Exec) == 0:
		f.add(at+"/run/exec", "is empty: name the program and its arguments")
	case c.Run.Exec[0] == "":
		f.add(at+"/run/exec/0", "is empty: name the program")
	case strings.Contains(c.Run.Exec[0], "/") && !filepath.IsAbs(c.Run.Exec[0]):
		f.add(at+"/run/exec/0", "%q is a relative path: make it absolute, or give a name to be found in PATH", c.Run.Exec[0])
	}
	if size > maxProgramSize {
		f.add(at+"/run/exec", "has, with env, %d bytes and may have %d: pass them in a file", size, maxProgramSize)
	}
	if c.Run.Dir != "" && !filepath.IsAbs(c.Run.Dir) {
		f.add(at+"/run/dir", "%q is relative: make it absolute", c.Run.Dir)
	}
	f.noZero(at+"/run/dir", c.Run.Dir)
}

func (c Child) checkEnv(f *faults, at string) {
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		where := at + pointer(name)
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			f.add(where, "is no name of an environment variable")
		case strings.HasPrefix(name, "GLASSBOX_"):
			f.add(where, "is reserved: names beginning with GLASSBOX_ are set by Glassbox")
		}
		f.noZero(where, c.Env[name])
	}
}

func (f *faults) id(at, id string) {
	switch {
	case id == "":
		f.add(at, "is missing")
	case !idForm.MatchString(id):
		f.add(at, `%q must be 1 to 63 of a-z, 0-9, "-", "_" and ".", beginning with a letter or digit`, id)
	}
}

func (f *faults) strategy(at, value string) {
	f.choice(at, value, []string{"one_for_one"}, []string{"one_for_all", "rest_for_one"})
}

// choice checks one of several words; later ones are known but not there yet.
func (f *faults) choice(at, value string, now, later []string) {
	switch {
	case value == "" || slices.Contains(now, value):
	case slices.Contains(later, value):
		f.add(at, "%q is not in this version yet: use %s", value, strings.Join(now, " or "))
	default:
		f.add(at, "%q is not known: use %s", value, strings.Join(now, " or "))
	}
}

// number checks an integer that may be left out.
func (f *faults) number(at string, value *int, least int) {
	if value != nil && (*value < least || *value > maxSeconds) {
		f.add(at, "is %d, must be %d to %d", *value, least, maxSeconds)
	}
}

func (f *faults) noZero(at, text string) {
	if strings.Contains(text, "\x00") {
		f.add(at, "has a NUL character, which no program can be given")
	}
}

func (f *faults) notYet(at, what string) {
	f.add(at, "this version does not have %s yet: leave it out", what)
}
