package harness

import (
	"math"
	"time"
)

// Each figure is a function of the history, for [Objective].Measure: it returns
// one sample for each time it could be measured. What was to be seen and never
// was is infinite.

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Formations is how long each start took until all nodes had joined, in
// milliseconds.
func Formations(h *History) []float64 {
	var samples []float64
	for _, f := range h.Formation {
		worst := 0.0
		for _, node := range h.Nodes {
			worst = max(worst, f.took(node))
		}
		samples = append(samples, worst)
	}
	return samples
}

// Joins is the same for every node by itself.
func Joins(h *History) []float64 {
	var samples []float64
	for _, f := range h.Formation {
		for _, node := range h.Nodes {
			samples = append(samples, f.took(node))
		}
	}
	return samples
}

func (f Formation) took(node string) float64 {
	at, joined := f.Joined[node]
	if !joined {
		return math.Inf(1)
	}
	return millis(at.Sub(f.Started))
}

// Detection is how long after each fault of an action its victim was known to
// have failed, or left, one sample for each observer, in milliseconds.
func Detection(which func(Fault) bool, types ...string) func(*History) []float64 {
	return func(h *History) []float64 {
		var samples []float64
		for _, w := range h.Windows {
			if !which(w.Fault) {
				continue
			}
			for _, observer := range w.Observers {
				at, seen := h.seen(w, observer, types...)
				if !seen {
					samples = append(samples, math.Inf(1))
					continue
				}
				// An observer can know before the target has told us.
				samples = append(samples, max(0, millis(at.Sub(w.From))))
			}
		}
		return samples
	}
}

// Recovery is how long after a fault was mended all agreed again, in
// milliseconds.
func Recovery(which func(Fault) bool) func(*History) []float64 {
	return func(h *History) []float64 {
		var samples []float64
		for _, w := range h.Windows {
			switch {
			case !which(w.Fault):
			case w.Mended.IsZero() || w.Over.IsZero():
				samples = append(samples, math.Inf(1))
			default:
				samples = append(samples, millis(w.Over.Sub(w.Mended)))
			}
		}
		return samples
	}
}

// Success is the share of the calls of a group that succeeded, in percent: one
// sample.
func Success(g CallGroup) func(*History) []float64 {
	return func(h *History) []float64 {
		calls := h.calls(g)
		if len(calls) == 0 {
			return nil
		}
		good := 0
		for _, c := range calls {
			if c.Kind == "" {
				good++
			}
		}
		return []float64{100 * float64(good) / float64(len(calls))}
	}
}

// Latency is how long the successful calls of a group took, in milliseconds.
func Latency(g CallGroup) func(*History) []float64 {
	return func(h *History) []float64 {
		var samples []float64
		for _, c := range h.calls(g) {
			if c.Kind == "" {
				samples = append(samples, millis(c.Took))
			}
		}
		return samples
	}
}

// Indefinite counts the failed calls to live nodes of which the caller cannot
// know whether they happened.
func Indefinite(h *History) []float64 {
	if len(h.Calls) == 0 {
		return nil
	}
	n := 0.0
	for _, c := range h.Calls {
		if c.Kind != "" && !c.Definite && h.group(c) != ToVictim {
			n++
		}
	}
	return []float64{n}
}

// counted is a count, if the run got so far and all that could count was seen:
// what was not seen may have been one more.
func counted(h *History, n int, unseen []Loss) []float64 {
	if h.Ended.IsZero() || n == 0 && len(unseen) > 0 {
		return nil
	}
	return []float64{float64(n)}
}

// FalseDeaths counts the nodes that were taken for failed by somebody without
// being the victim of a fault.
func FalseDeaths(h *History) []float64 {
	n := 0
	for _, s := range h.Sightings {
		if s.Type == "MemberFailed" && !h.guilty(s) {
			n++
		}
	}
	return counted(h, n, h.Unheard)
}

// guilty reports whether a fault explains a sighting: one about its victim, or
// one that its victim had of others.
func (h *History) guilty(s Sighting) bool {
	for _, w := range h.Windows {
		// A link between two leaves everybody reachable: it explains no death.
		if w.Fault.Link.Peer == "" && w.overlaps(s.At, s.At) && (w.Fault.Node == s.Subject || w.Fault.Node == s.Observer) {
			return true
		}
	}
	return false
}

// Used is a figure of the samples at rest or after the run.
func Used(after bool, of func(Sample) float64) func(*History) []float64 {
	return func(h *History) []float64 {
		var samples []float64
		for _, s := range h.Samples {
			if s.After == after {
				samples = append(samples, s.figure(of))
			}
		}
		return samples
	}
}

// Growth is how much more a figure was after the run than at rest, by node.
func Growth(of func(Sample) float64) func(*History) []float64 {
	return func(h *History) []float64 {
		before := map[string]float64{}
		var samples []float64
		for _, s := range h.Samples {
			if !s.After {
				before[s.Node] = s.figure(of)
			} else if b, ok := before[s.Node]; ok && !math.IsInf(b, 1) {
				samples = append(samples, s.figure(of)-b)
			} else {
				samples = append(samples, math.Inf(1))
			}
		}
		return samples
	}
}

func (s Sample) figure(of func(Sample) float64) float64 {
	if s.Failed {
		return math.Inf(1)
	}
	return of(s)
}

func megabytesOf(s Sample) float64  { return float64(s.Memory.RSS) / 1e6 }
func chargedOf(s Sample) float64    { return float64(s.Memory.Charged) / 1e6 }
func goroutinesOf(s Sample) float64 { return float64(s.Goroutines) }
func filesOf(s Sample) float64      { return float64(s.OpenFiles) }

// Crashes counts the ends that nobody caused, and the panics.
func Crashes(h *History) []float64 { return counted(h, len(h.Ends), h.Unread) }
