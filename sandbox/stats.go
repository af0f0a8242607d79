package sandbox

import (
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox/message"
)

// Stats are figures of a process, of its tree and of its slot.
type Stats struct {
	Usage
	UptimeMS int64 `json:"uptime_ms"`
	Restarts int   `json:"restarts"` // of the slot
	// Messages are those to a program that speaks JSON-RPC.
	Messages *message.Counts `json:"messages,omitempty"`
}

// Stats tells what a process uses now. Kinds: not_found, conflict (a supervisor,
// or it is still starting), internal when it cannot be measured.
func (m *Manager) Stats(pid string) (Stats, error) {
	s, err := m.liveSlot(pid)
	if err != nil {
		return Stats{}, err
	}
	return s.stats(pid)
}

// SandboxStats sums what the processes of a sandbox use that run. Uptime is that
// of the one that has run for longest.
func (m *Manager) SandboxStats(id string) (Stats, error) {
	t, err := m.tree(id)
	if err != nil {
		return Stats{}, err
	}
	var sum Stats
	var failed error
	t.root.each(func(m member) {
		s, ok := m.(*slot)
		if !ok {
			return
		}
		row := s.current()
		sum.Restarts += row.Restarts
		one, err := s.stats(row.PID)
		switch kind := errs.KindOf(err); {
		case err == nil:
			sum.Add(one.Usage)
			sum.UptimeMS = max(sum.UptimeMS, one.UptimeMS)
		case kind != errs.NotFound && kind != errs.Conflict: // it runs
			failed = err
		}
	})
	return sum, failed
}

// Output tells how much was printed in a process's slot. Kinds: not_found,
// conflict (a supervisor).
func (m *Manager) Output(pid string) (OutputCounts, error) {
	log, _, err := m.Logs(pid)
	if err != nil {
		return OutputCounts{}, err
	}
	return log.Counts(), nil
}

func (s *slot) stats(pid string) (Stats, error) {
	proc, talk, err := s.live(pid)
	if err != nil {
		return Stats{}, err
	}
	use, err := proc.Usage()
	if err != nil {
		return Stats{}, err
	}
	row := s.current()
	stats := Stats{Usage: use, UptimeMS: s.tree.m.now().Sub(row.Started).Milliseconds(), Restarts: row.Restarts}
	if talk != nil {
		counts := talk.Counts()
		stats.Messages = &counts
	}
	return stats, nil
}
