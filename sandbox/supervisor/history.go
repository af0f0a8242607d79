package supervisor

import (
	"slices"
	"time"
)

// KeepRestarts is how many restarts a [History] remembers.
const KeepRestarts = 32

// RestartRecord is one restart a supervisor decided: that of one child or, by
// its strategy, of several.
type RestartRecord struct {
	At     time.Time
	Child  string // the child whose end was the cause
	Reason Reason // how it ended; abnormal for one that could not be started
	Why    string // the same, for people
	Retry  bool   // the restart before it had failed
}

// History is the newest restarts of a supervisor, oldest first.
type History []RestartRecord

// with returns the history with one more restart; the old one stays as it is.
func (h History) with(r RestartRecord) History {
	if len(h) >= KeepRestarts {
		h = h[len(h)-KeepRestarts+1:]
	}
	return append(slices.Clip(slices.Clone(h)), r)
}

// Rate is how many restarts there were in a minute, on average over the window
// that ends now. Where the history is full and does not reach back so far, the
// average is over the time it covers, of a second at least. A window of zero
// or less has no rate: 0.
func (h History) Rate(now time.Time, window time.Duration) float64 {
	if window <= 0 {
		return 0
	}
	first := slices.IndexFunc(h, func(r RestartRecord) bool { return now.Sub(r.At) <= window })
	if first < 0 {
		return 0
	}
	if first == 0 && len(h) == KeepRestarts {
		window = min(window, max(now.Sub(h[0].At), time.Second))
	}
	return float64(len(h)-first) / window.Minutes()
}
