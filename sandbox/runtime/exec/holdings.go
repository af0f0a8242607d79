package exec

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/glassbox-dev/glassbox/memdb"
)

// holdings are what a program has been lent by its node for as long as it lives:
// a user, cgroups, a work folder.
type holdings struct {
	isolation memdb.Isolation
	group     *group // nil: none
	work      string // "": none
	giveUser  func() // nil: it has none of its own
	limitMB   int    // of memory
	once      sync.Once
	stuck     atomic.Bool // what is left of the program still has it
}

// end completes the exit of a program of which nothing is left, and takes back
// what it was lent.
func (h *holdings) end(exit *memdb.Exit) {
	if exit.Cause == memdb.CauseStuck {
		h.stuck.Store(true)
		return
	}
	byItself := exit.Cause == memdb.CauseExited || exit.Cause == memdb.CauseSignaled
	if byItself && exit.Code != 0 && h.group.oomKills() > 0 {
		exit.Cause = memdb.CauseOOM
		exit.Detail = fmt.Sprintf("it and what it started used more than %d MiB of memory: raise limits.memory_mb, or make it use less", h.limitMB)
	}
	h.release()
}

// release takes back what was lent. Nothing of the program may be left.
func (h *holdings) release() {
	h.once.Do(func() {
		h.group.remove()
		if h.work != "" {
			removeWork(h.work) // the next life of the node removes what this leaves
		}
		if h.giveUser != nil {
			h.giveUser()
		}
	})
}

// kill kills all that is in the program's cgroup at once, where the system can;
// the guardian kills the rest, and waits for the ends.
func (h *holdings) kill() { h.group.kill() }
