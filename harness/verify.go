package harness

import (
	"context"
	"fmt"
	"io"
	"os"
)

// Verification is what a command that verifies a cluster was asked for: `glassbox
// verify`, and the one of package testcontainers.
type Verification struct {
	Scenario string
	Nodes    int    // 0: the scenario's
	Runs     int    // how often; 0 is once
	Report   string // folder for report.json, report.xml, report.md and logs; "" for none
}

// Verify runs a scenario, shows each report and writes them all. It returns
// whether all passed; an error says that something could not be run at all. In a
// GitHub job the Markdown is added to the job's summary too.
func Verify(ctx context.Context, start Starter, v Verification, out, progress io.Writer) (passed bool, err error) {
	scenario, err := Find(v.Scenario)
	if err != nil {
		return false, err
	}
	var reports []*Report
	passed = true
	for run := range max(1, v.Runs) {
		report, err := Run(ctx, start, scenario, Options{Nodes: v.Nodes, Progress: progress, LogDir: v.Report})
		if err != nil {
			return false, err
		}
		reports = append(reports, report)
		passed = passed && report.Passed()
		if v.Runs > 1 {
			fmt.Fprintf(out, "run %d of %d: ", run+1, v.Runs)
		}
		if _, err := fmt.Fprintln(out, report.Text()); err != nil {
			return false, err
		}
	}
	if v.Report != "" {
		if err := Write(v.Report, reports); err != nil {
			return false, err
		}
	}
	return passed, summarize(reports)
}

// summarize adds the reports to the summary of a GitHub job, if this is one.
func summarize(reports []*Report) error {
	file := os.Getenv("GITHUB_STEP_SUMMARY")
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("the job's summary: %w", err)
	}
	defer f.Close()
	_, err = f.WriteString(Markdown(reports))
	return err
}
