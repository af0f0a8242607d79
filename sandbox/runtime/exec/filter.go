package exec

import (
	"sync"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// The filters of system calls, made once.
var filters = map[string]func() ([]byte, error){
	sandbox.NetworkHost: sync.OnceValues(func() ([]byte, error) { return isolation.Filter(sandbox.NetworkHost) }),
	sandbox.NetworkNone: sync.OnceValues(func() ([]byte, error) { return isolation.Filter(sandbox.NetworkNone) }),
}

func filterFor(network string) ([]byte, error) { return filters[network]() }
