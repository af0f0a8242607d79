package exec

import (
	"sync"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// filterKind says which filter of system calls a program is under.
type filterKind struct {
	network string
	shares  bool // it may make shared objects: somebody will remove them
}

// The filters of system calls, made once.
var filters = make(map[filterKind]func() ([]byte, error))

func init() {
	for _, network := range []string{sandbox.NetworkHost, sandbox.NetworkNone} {
		filters[filterKind{network, true}] = sync.OnceValues(func() ([]byte, error) { return isolation.Filter(network) })
		filters[filterKind{network, false}] = sync.OnceValues(func() ([]byte, error) { return isolation.Filter(network, isolation.SharedObjects...) })
	}
}

func filterFor(k filterKind) ([]byte, error) { return filters[k]() }
