package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The Go runtime keeps the memory that a burst of work has needed for minutes: its
// next collection comes when the heap has doubled, or after two minutes, and what
// it frees goes back to the system slowly. A node is idle most of the time, and on
// a laptop there are several.
const (
	tidyEvery = time.Second
	// busyBytes is what a node that has work to do allocates meanwhile, at least.
	busyBytes = 4 << 20
	// burstBytes is what has to be allocated before it is worth tidying up: more
	// than idling does in minutes.
	burstBytes = 16 << 20
)

// tidy gives back the memory of a burst of work once it is over, until ctx ends.
func tidy(ctx context.Context) error {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	last := allocated()
	tidied := last
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := allocated()
		if now-last < busyBytes && now-tidied > burstBytes {
			debug.FreeOSMemory()
			tidied = now
		}
		last = now
	}
}

// allocated is how many bytes the process has ever allocated.
func allocated() uint64 {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64()
}
