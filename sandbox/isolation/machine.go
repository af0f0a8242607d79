package isolation

import "slices"

// Primitive is one thing that confines programs, by the name that listings show.
type Primitive string

// The primitives.
const (
	NoNewPrivs  Primitive = "no_new_privs" // no program gains privileges by being started
	Seccomp     Primitive = "seccomp"      // a filter of system calls
	Landlock    Primitive = "landlock"     // rules about files
	Scope       Primitive = "scope"        // no signal and no abstract socket to the outside
	OwnPorts    Primitive = "own_ports"    // the node's own ports cannot be connected to or bound
	UID         Primitive = "uid"          // a user of its own for each sandbox
	Namespaces  Primitive = "bubblewrap"   // user, mount, pid, ipc, uts and cgroup namespaces
	Network     Primitive = "network"      // no network but an own loopback
	WorkFolder  Primitive = "work_folder"  // a private place to write to
	MemoryLimit Primitive = "memory"       // a cgroup that bounds memory
	CPULimit    Primitive = "cpu"          // a cgroup that bounds computing
	PidsLimit   Primitive = "pids"         // a cgroup that bounds processes
)

// all are the primitives in the order that listings have them.
var all = []Primitive{
	Namespaces, UID, NoNewPrivs, Seccomp, Landlock, Scope, OwnPorts, Network, WorkFolder, MemoryLimit, CPULimit, PidsLimit,
}

// Machine is what was found out about this machine by trying.
type Machine struct {
	// Root says that the node runs as root, so that its programs have to be given
	// another user.
	Root bool
	// Faults says why a primitive does not work here. Which is not in it works.
	Faults map[Primitive]string
	// OldBubblewrap says that bubblewrap does not know --disable-userns.
	OldBubblewrap bool
}

// Has reports whether a primitive works here.
func (m Machine) Has(p Primitive) bool { _, faulty := m.Faults[p]; return !faulty }

// Lack is a primitive that does not work, and why.
type Lack struct {
	Name Primitive `json:"name"`
	Why  string    `json:"why"`
}

// Report is what a node says of itself.
type Report struct {
	Level   string      `json:"level"`             // the strongest that works: none, process or namespaces
	Have    []Primitive `json:"have"`              // what works
	Missing []Lack      `json:"missing,omitempty"` // what does not, and why
}

// Report tells what works here.
func (m Machine) Report() Report {
	r := Report{Level: m.Strongest(), Have: []Primitive{}}
	for _, p := range all {
		if m.Has(p) {
			r.Have = append(r.Have, p)
		} else {
			r.Missing = append(r.Missing, Lack{p, m.Faults[p]})
		}
	}
	return r
}

// Untried is a machine of which nothing is known to work, and why.
func Untried(why string) Machine {
	m := Machine{Faults: map[Primitive]string{}}
	for _, p := range all {
		m.Faults[p] = why
	}
	return m
}

// Strongest is the strongest level that works here.
func (m Machine) Strongest() string {
	for _, level := range slices.Backward(levels) {
		if m.refuses(level) == "" {
			return level
		}
	}
	return levels[0]
}
