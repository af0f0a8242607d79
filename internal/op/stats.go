package op

import (
	"maps"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Stats is how an operation has fared on this node since it started.
type Stats struct {
	Name     string            `json:"name"`
	Calls    int64             `json:"calls"`
	Failures map[errs.Kind]int `json:"failures,omitempty"`
	TotalUS  int64             `json:"total_us"` // time spent in all calls together
	MaxUS    int64             `json:"max_us"`   // the longest one
}

type stats struct {
	mu       sync.Mutex
	calls    int64
	failures map[errs.Kind]int
	total    time.Duration
	longest  time.Duration
}

func (s *stats) done(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.total += took
	s.longest = max(s.longest, took)
	if err == nil {
		return
	}
	if s.failures == nil {
		s.failures = map[errs.Kind]int{}
	}
	s.failures[errs.KindOf(err)]++
}

// Stats returns the figures of every operation that was called, by name.
func (t *Table) Stats() []Stats {
	var all []Stats
	for _, o := range t.ops {
		o.stats.mu.Lock()
		if o.stats.calls > 0 {
			all = append(all, Stats{
				Name: o.Name, Calls: o.stats.calls, Failures: maps.Clone(o.stats.failures),
				TotalUS: o.stats.total.Microseconds(), MaxUS: o.stats.longest.Microseconds(),
			})
		}
		o.stats.mu.Unlock()
	}
	return all
}
