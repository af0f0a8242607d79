package harness

import (
	"cmp"
	"slices"
)

// Judged is a result of samples that were not taken from a [History]: at most aim
// is asked for, nothing if it is nil.
func Judged(name, about, unit string, aim *float64, samples []float64) Result {
	r := Result{Name: name, About: about, Unit: unit, Aim: aim, N: len(samples), Verdict: NotMeasured}
	if r.N > 0 {
		sorted := slices.Clone(samples)
		slices.SortFunc(sorted, cmp.Compare)
		r.P50, r.P99, r.Worst = quantile(sorted, 0.5), quantile(sorted, 0.99), quantile(sorted, 1)
		r.Verdict = r.verdict()
	}
	return r
}
