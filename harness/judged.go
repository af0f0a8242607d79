package harness

// Judged is a result of samples that were not taken from a [History]: at most aim
// is asked for, nothing if it is nil.
func Judged(name, about, unit string, aim *float64, samples []float64) Result {
	r := Result{Name: name, About: about, Unit: unit, Aim: aim}
	r.judge(samples)
	return r
}
