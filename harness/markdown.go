package harness

import (
	"fmt"
	"strings"
)

// Markdown writes reports for a pull request or a job's summary.
func Markdown(reports []*Report) string {
	var b strings.Builder
	for _, r := range reports {
		mark := "✅"
		if !r.Passed() {
			mark = "❌"
		}
		fmt.Fprintf(&b, "### %s %s on %s, %s\n\n%s: %s in %.1f s.\n\n", mark, r.Scenario, r.Target, r.size(), r.About, r.Verdict(), r.Took.Seconds())
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
		for _, row := range r.rows() {
			for i, cell := range row {
				row[i] = strings.ReplaceAll(cell, "|", `\|`)
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
		b.WriteString("\n")
		if r.Failure != "" {
			fmt.Fprintf(&b, "It ended early: %s\n\n", r.Failure)
		}
		if r.Repeat != "" && !r.Passed() {
			fmt.Fprintf(&b, "%s\n\n", r.Repeat)
		}
		for _, call := range r.FailedCalls {
			fmt.Fprintf(&b, "- failed call: %s\n", call)
		}
		for _, e := range r.Ends {
			fmt.Fprintf(&b, "- %s: `%s`\n", e.Node, strings.ReplaceAll(e.How, "`", "'"))
		}
		for _, l := range r.Unseen {
			fmt.Fprintf(&b, "- not observed of %s: %s\n", l.Node, l.Why)
		}
		b.WriteString("\n")
	}
	return b.String()
}
