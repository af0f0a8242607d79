package sandbox

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/glassbox-dev/glassbox/memdb"
)

// Limits of a spec.
const (
	maxChildren    = 256 // of all supervisors together
	maxDepth       = 8   // of supervisors below one another
	maxMounts      = 64
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
	f.choice("/isolation", s.Isolation, []string{IsolationAuto, IsolationNone, IsolationProcess, IsolationNamespaces}, nil)
	f.choice("/network", s.Network, []string{NetworkHost, NetworkNone}, []string{"private"})
	s.checkConfined(f)
	if s.Placement != nil && s.Placement.Spread {
		f.notYet("/placement/spread", "spreading")
	}
	f.choice("/failover", s.Failover, []string{FailoverAny, FailoverNone}, []string{"majority"})
}

// checkConfined checks what needs isolation. Whether mounts can be had is the
// runtime's to say: those that show what is there already need none.
func (s Spec) checkConfined(f *faults) {
	if s.Network == NetworkNone && s.Isolation == IsolationNone {
		f.add("/network", "%q needs isolation, and that is %q: use %q, %q or %q", s.Network, s.Isolation, IsolationProcess, IsolationNamespaces, IsolationAuto)
	}
	if len(s.Mounts) > maxMounts {
		f.add("/mounts", "are %d and may be %d: mount a folder above them", len(s.Mounts), maxMounts)
	}
	taken := make(map[string]int)
	for i, m := range s.Mounts {
		at := pointer("mounts", i)
		m.check(f, at)
		if j, twice := taken[filepath.Clean(m.Target)]; twice {
			f.add(at+"/target", "is also the target of mount %d: each needs its own", j)
		}
		taken[filepath.Clean(m.Target)] = i
	}
}

// reserved are the folders of a sandbox that nothing can be mounted on or below.
var reserved = []string{"/proc", "/dev", "/sys"}

func (m Mount) check(f *faults, at string) {
	for name, path := range map[string]string{"/source": m.Source, "/target": m.Target} {
		if !filepath.IsAbs(path) {
			f.add(at+name, "%q is not an absolute path", path)
		}
		f.noZero(at+name, path)
	}
	target := filepath.Clean(m.Target)
	if target == "/" {
		f.add(at+"/target", "is the root of the sandbox: mount on a folder below it")
	}
	for _, dir := range reserved {
		if target == dir || strings.HasPrefix(target, dir+"/") {
			f.add(at+"/target", "is in %s, which the sandbox has of its own: use another folder", dir)
		}
	}
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
	if s.Children == nil {
		f.add("/children", "is missing: say what to run; [] is a supervisor without children, to which they can be added")
	}
	if n := count(s.Children); n > maxChildren {
		f.add("/children", "has %d children, with those of its supervisors, and may have %d: make several sandboxes", n, maxChildren)
	}
	checkAll(f, "/children", s.Children, 1)
}

// count counts children at any depth.
func count(children []Child) int {
	n := len(children)
	for _, c := range children {
		n += count(c.Children)
	}
	return n
}

// checkAll checks the children of one supervisor; depth is how many there are
// above them.
func checkAll(f *faults, at string, children []Child, depth int) {
	if depth > maxDepth {
		f.add(at, "are below %d supervisors, and may be below %d: make the tree flatter", depth, maxDepth)
		return
	}
	first := make(map[string]int)
	for i, c := range children {
		at := at + pointer(i)
		c.check(f, at, depth)
		if j, twice := first[c.ID]; twice && c.ID != "" {
			f.add(at+"/id", "%q is also the id of child %d: give each child its own", c.ID, j)
		} else {
			first[c.ID] = i
		}
	}
}

func (c Child) check(f *faults, at string, depth int) {
	f.id(at+"/id", c.ID)
	f.choice(at+"/restart", c.Restart, []string{"permanent", "transient", "temporary"}, nil)
	if c.Supervises() {
		c.checkSupervisor(f, at, depth)
		return
	}
	if c.Run == nil {
		f.add(at+"/run", `is missing: say what to run, as {"exec": ["program", "argument"]}, or make the child a supervisor with children`)
	} else {
		c.checkRun(f, at)
	}
	if c.Name != "" {
		if fault := memdb.NameFault(c.Name); fault != "" {
			f.add(at+"/name", "%s", fault)
		}
	}
	f.number(at+"/shutdown_ms", c.ShutdownMS, 0)
	c.checkEnv(f, at+"/env")
	c.Limits.check(f, at+"/limits")
	f.choice(at+"/protocol", c.Protocol, []string{ProtocolJSONRPC}, nil)
}

// checkSupervisor checks a child that is a supervisor.
func (c Child) checkSupervisor(f *faults, at string, depth int) {
	f.strategy(at+"/strategy", c.Strategy)
	f.number(at+"/max_restarts", c.MaxRestarts, 0)
	f.number(at+"/max_seconds", c.MaxSeconds, 1)
	for _, program := range []struct {
		field string
		given bool
	}{
		{"run", c.Run != nil}, {"name", c.Name != ""}, {"env", c.Env != nil}, {"limits", c.Limits != nil},
		{"protocol", c.Protocol != ""}, {"shutdown_ms", c.ShutdownMS != nil},
	} {
		if program.given {
			f.add(at+"/"+program.field, "is of a program, and this child is a supervisor: leave it out, or leave strategy, max_restarts, max_seconds and children out")
		}
	}
	checkAll(f, at+"/children", c.Children, depth+1)
}

// Bounds of limits. A program needs some memory to start at all.
const (
	minMemoryMB = 1
	maxMemoryMB = 1 << 24 // 16 TiB
	maxCPUs     = 1024
	maxPids     = 1 << 22 // the kernel's own
)

func (l *Limits) check(f *faults, at string) {
	if l == nil {
		return
	}
	f.limit(at+"/memory_mb", l.MemoryMB, minMemoryMB, maxMemoryMB)
	f.limit(at+"/pids", l.Pids, 1, maxPids)
	f.limit(at+"/output_mb", l.OutputMB, 1, maxMemoryMB)
	f.limit(at+"/time_s", l.TimeS, 1, maxSeconds)
	if l.CPUs != 0 && (l.CPUs < 0.01 || l.CPUs > maxCPUs) {
		f.add(at+"/cpus", "is %v, must be 0.01 to %d, or left out for no limit", l.CPUs, maxCPUs)
	}
}

// limit checks a limit; 0 is none.
func (f *faults) limit(at string, value, least, most int) {
	if value != 0 && (value < least || value > most) {
		f.add(at, "is %d, must be %d to %d, or left out for no limit", value, least, most)
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
	f.choice(at, value, []string{"one_for_one", "one_for_all", "rest_for_one"}, nil)
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
