package harness

// Judge holds a history to a scenario's objectives, those that a target can
// measure.
func Judge(s Scenario, target Target, h *History) []Result {
	var results []Result
	for _, o := range s.Objectives {
		if result, measurable := o.judge(h, target); measurable {
			results = append(results, result)
		}
	}
	return results
}

// Judged is a result of samples that were not taken from a [History]: at most aim
// is asked for, nothing if it is nil.
func Judged(name, about, unit string, aim *float64, samples []float64) Result {
	r := Result{Name: name, About: about, Unit: unit, Aim: aim}
	r.judge(samples)
	return r
}
