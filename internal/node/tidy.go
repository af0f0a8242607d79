package node

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A node is idle most of the time, and on a laptop there are several: then its
// memory counts. When it has work to do, the collector's share counts: a heap of a
// few megabytes is collected many times a second, for garbage of a few megabytes
// more. And when the work is over the Go runtime would keep what it needed for
// minutes: the next collection comes when the heap has doubled, or after two
// minutes, and what it frees goes back to the system slowly.
const (
	tidyEvery = time.Second
	// busyBytes is what a node that has work to do allocates meanwhile, at least.
	busyBytes = 4 << 20
	// burstBytes is what has to be allocated before it is worth tidying up: more
	// than idling does in minutes.
	burstBytes = 16 << 20
	// roomBytes is the garbage that a busy node may have, if its heap is smaller.
	roomBytes = 16 << 20
	// usualPercent is the runtime's own: as much garbage as there is heap.
	usualPercent = 100
)

// tidy gives a busy node room, and its memory back once it is idle, until ctx
// ends. Who has set GOGC has decided about the room.
func tidy(ctx context.Context) error {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	percent, setting := usualPercent, os.Getenv("GOGC") == ""
	set := func(to int) {
		if setting && to != percent {
			debug.SetGCPercent(to)
			percent = to
		}
	}
	defer set(usualPercent)
	last, _ := heap()
	tidied := last
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		allocated, live := heap()
		switch {
		case allocated-last >= busyBytes:
			set(roomPercent(live))
		case allocated-tidied > burstBytes:
			set(usualPercent)
			debug.FreeOSMemory()
			tidied = allocated
		default:
			set(usualPercent)
		}
		last = allocated
	}
}

// roomPercent is how much garbage a busy node with so much heap may have, in
// percent of that. It has few values, so that it is rarely set.
func roomPercent(live uint64) int {
	percent := usualPercent
	for percent < 800 && uint64(percent)*live/100 < roomBytes {
		percent *= 2
	}
	return percent
}

// heap tells how many bytes the process has ever allocated, and how many of them
// were found in use last.
func heap() (allocated, live uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}
