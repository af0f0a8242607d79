package node

import (
	"maps"
	"os"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/glassbox-dev/glassbox/internal/operations"
)

// probe reads this node's own figures. What the system does not tell is zero.
func (n *Node) probe() operations.Metrics {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	metrics.Read(samples)
	view := n.db.View()
	m := operations.Metrics{
		RSSBytes: rss(os.Getpid()), HeapBytes: int64(samples[0].Value.Uint64()), Goroutines: int(samples[1].Value.Uint64()),
		CPUSeconds: cpuSeconds(), OpenFiles: openFiles(), Links: n.linkMetrics(), Rows: view.Len(), Events: n.events.Last(),
	}
	if pid, ok := n.programs.Guardian(); ok {
		m.GuardianRSSBytes = rss(pid)
	}
	if pid, ok := n.programs.Keeper(); ok {
		m.GuardianRSSBytes += rss(pid)
	}
	return m
}

func (n *Node) linkMetrics() []operations.Link {
	rtt := map[string]int64{}
	for _, m := range n.cluster.Members() {
		rtt[m.Name] = m.RTTUS
	}
	acked, last := n.replica.Acked(), n.db.Position(n.cfg.Name).Seq
	stats := n.cluster.LinkStats()
	links := []operations.Link{}
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		behind := uint64(0)
		if last > acked[name] {
			behind = last - acked[name]
		}
		links = append(links, operations.Link{
			Node: name, RTTUS: rtt[name], QueuedBytes: stats[name].QueuedBytes, Pending: stats[name].Pending, Behind: behind,
		})
	}
	return links
}

// rss reads a process's resident memory from /proc/PID/statm, whose second
// field counts pages.
func rss(pid int) int64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
