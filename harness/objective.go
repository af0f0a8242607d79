package harness

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Objective is a figure and what is asked of it.
type Objective struct {
	Name  string // "detect_kill"
	About string // what it is, for the table
	Unit  string // "ms", "%", "MB" or ""
	// Least turns the bounds around: at least, not at most.
	Least bool
	// Floor is what the user asked for; nil: nothing. A miss of either the floor
	// or the aim is a miss.
	Floor *float64
	// Aims are what we ask for, by target. A target that is not there cannot
	// measure it. NaN asks for nothing: the figure is only shown.
	Aims map[Target]float64
	// Measure returns the samples. None at all is a miss: a check that never ran
	// has not passed.
	Measure func(*History) []float64
}

// Verdict is the outcome of an objective.
type Verdict string

// The verdicts.
const (
	Met         Verdict = "met"
	Missed      Verdict = "missed"
	NotMeasured Verdict = "not measured"
	Shown       Verdict = "-" // nothing was asked
)

// Result is an objective, measured.
type Result struct {
	Name    string   `json:"name"`
	About   string   `json:"about"`
	Unit    string   `json:"unit,omitempty"`
	Least   bool     `json:"at_least,omitempty"`
	Floor   *float64 `json:"floor,omitempty"`
	Aim     *float64 `json:"aim,omitempty"`
	N       int      `json:"n"` // samples
	P50     Number   `json:"p50"`
	P99     Number   `json:"p99"`
	Worst   Number   `json:"worst"`
	Verdict Verdict  `json:"verdict"`
}

// Number is a figure; JSON has no word for infinity, so that is null there.
type Number float64

// UnmarshalJSON reads null as NaN: which of the numbers that JSON does not have
// it was is lost.
func (n *Number) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(raw, (*float64)(n))
}

// MarshalJSON writes what is no finite number as null.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsInf(float64(n), 0) || math.IsNaN(float64(n)) {
		return []byte("null"), nil
	}
	return fmt.Appendf(nil, "%.3f", float64(n)), nil
}

// judge measures an objective on a target and says how it came out; false if
// the target cannot measure it.
func (o Objective) judge(h *History, target Target) (Result, bool) {
	aim, measurable := o.Aims[target]
	if !measurable {
		return Result{}, false
	}
	r := Result{Name: o.Name, About: o.About, Unit: o.Unit, Least: o.Least, Floor: o.Floor}
	if !math.IsNaN(aim) {
		r.Aim = &aim
	}
	r.judge(o.Measure(h))
	return r, true
}

// judge takes the samples in and says how they came out.
func (r *Result) judge(samples []float64) {
	r.N = len(samples)
	if r.N == 0 {
		nothing := Number(math.NaN())
		r.P50, r.P99, r.Worst, r.Verdict = nothing, nothing, nothing, NotMeasured
		if r.Aim == nil && r.Floor == nil {
			r.Verdict = Shown
		}
		return
	}
	sorted := slices.Clone(samples)
	slices.SortFunc(sorted, func(a, b float64) int { return cmp.Compare(r.badness(a), r.badness(b)) })
	r.P50, r.P99, r.Worst = quantile(sorted, 0.5), quantile(sorted, 0.99), quantile(sorted, 1)
	r.Verdict = r.verdict()
}

// badness orders samples: NaN, which is no figure, is as bad as can be.
func (r *Result) badness(sample float64) float64 {
	switch {
	case math.IsNaN(sample):
		return math.Inf(1)
	case r.Least:
		return -sample
	default:
		return sample
	}
}

func (r Result) verdict() Verdict {
	if r.Aim == nil && r.Floor == nil {
		return Shown
	}
	for _, bound := range []*float64{r.Floor, r.Aim} {
		if bound == nil {
			continue
		}
		met := float64(r.Worst) <= *bound // not of NaN, which is no figure
		if r.Least {
			met = float64(r.Worst) >= *bound
		}
		if !met {
			return Missed
		}
	}
	return Met
}

// quantile is the nearest-rank quantile of sorted samples: the smallest one that
// at least the share q of all do not exceed.
func quantile(sorted []float64, q float64) Number {
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return Number(sorted[min(max(rank, 0), len(sorted)-1)])
}
