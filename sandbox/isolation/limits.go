package isolation

import (
	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// Rlimit is a limit of a process, which its children inherit.
type Rlimit struct {
	Resource int    `json:"resource"`
	Value    uint64 `json:"value"`
}

// minCPUs is the smallest share of a CPU that the kernel grants: 1 ms of the
// 100 ms period.
const minCPUs = 0.01

// DefaultPids is how many processes and threads the programs of a confined sandbox
// may have together if their spec says nothing: more than any service has, and too
// few to take the machine's process ids from the others.
const DefaultPids = 4096

// possible says which limit there cannot be.
func possible(l sandbox.Limits) error {
	switch {
	case l.MemoryMB < 0:
		return errs.New(errs.BadSpec, "memory_mb is %d: at least 1, or 0 for no limit", l.MemoryMB)
	case l.Pids < 0:
		return errs.New(errs.BadSpec, "pids is %d: at least 1, or 0 for no limit", l.Pids)
	case l.CPUs != 0 && (l.CPUs < minCPUs || l.CPUs != l.CPUs):
		return errs.New(errs.BadSpec, "cpus is %g: at least %g, or 0 for no limit", l.CPUs, minCPUs)
	}
	return nil
}

// bound chooses a cgroup for each wanted limit, or a limit of the process where
// there is none.
func (p *Plan) bound(m Machine, w Want) {
	for _, by := range w.limited() {
		if m.Has(by) {
			p.Groups = append(p.Groups, string(by))
			continue
		}
		switch by {
		case MemoryLimit:
			// Not the address space: runtimes reserve many times what they use.
			p.Rlimits = append(p.Rlimits, Rlimit{unix.RLIMIT_DATA, uint64(w.Limits.MemoryMB) << 20})
		case PidsLimit:
			// It counts a user's processes, or those in one user namespace: of a
			// user that has others it would forbid the first fork.
			if p.Drop || p.Level == sandbox.IsolationNamespaces {
				p.Rlimits = append(p.Rlimits, Rlimit{unix.RLIMIT_NPROC, uint64(w.Limits.Pids)})
			}
		}
	}
	if w.Limits.Pids == 0 && (p.Drop || p.Level == sandbox.IsolationNamespaces) {
		p.Rlimits = append(p.Rlimits, Rlimit{unix.RLIMIT_NPROC, DefaultPids})
	}
}
