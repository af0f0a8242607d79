package harness

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// columns of the table of objectives.
var columns = []string{"OBJECTIVE", "FLOOR", "AIM", "P50", "P99", "WORST", "N", "VERDICT", "WHAT"}

// rows are the results as text.
func (r *Report) rows() [][]string {
	var rows [][]string
	for _, res := range r.Results {
		rows = append(rows, []string{
			res.Name, res.bound(res.Floor), res.bound(res.Aim), res.number(res.P50), res.number(res.P99), res.number(res.Worst),
			strconv.Itoa(res.N), string(res.Verdict), res.About,
		})
	}
	return rows
}

func (r Result) bound(v *float64) string {
	if v == nil {
		return "-"
	}
	sign := "≤ "
	if r.Least {
		sign = "≥ "
	}
	return sign + r.number(Number(*v))
}

func (r Result) number(n Number) string {
	v := float64(n)
	switch {
	case math.IsNaN(v):
		return "-"
	case math.IsInf(v, 0):
		return "never"
	}
	decimals := 1
	if v == math.Trunc(v) && (math.Abs(v) >= 100 || r.Unit == "") || math.Abs(v) >= 1000 {
		decimals = 0
	} else if r.Unit == "%" {
		decimals = 2
	}
	return strings.TrimSpace(strconv.FormatFloat(v, 'f', decimals, 64) + " " + r.Unit)
}

// Verdict is the outcome in one word.
func (r *Report) Verdict() string {
	if r.Passed() {
		return "passed"
	}
	return "failed"
}

// Text writes the report for a terminal.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s, %s, %.1f s: %s\n\n", r.Scenario, r.Target, r.size(), r.Took.Seconds(), r.Verdict())
	all := append([][]string{columns}, r.rows()...)
	widths := make([]int, len(columns))
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range all {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if r.Failure != "" {
		fmt.Fprintf(&b, "\nIt ended early: %s\n", r.Failure)
	}
	if r.Repeat != "" && !r.Passed() {
		fmt.Fprintf(&b, "\n%s\n", r.Repeat)
	}
	list := func(head string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n%s\n  %s\n", head, strings.Join(lines, "\n  "))
		}
	}
	list("Calls to live nodes that failed:", r.FailedCalls)
	var ends []string
	for _, e := range r.Ends {
		ends = append(ends, e.Node+": "+e.How)
	}
	list("Ends that nobody caused:", ends)
	var unseen []string
	for _, l := range r.Unseen {
		unseen = append(unseen, l.Node+": "+l.Why)
	}
	list("What could not be observed:", unseen)
	list("Logs:", r.Logs)
	return b.String()
}
