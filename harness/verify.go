package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Verification is what a command that verifies a cluster was asked for: `glassbox
// verify`, and the one of package testcontainers.
type Verification struct {
	Scenario string
	Nodes    int    // 0: the scenario's
	Runs     int    // how often, at least 1
	Report   string // folder for report.json, report.xml, report.md and logs; "" for none
	JSON     bool   // shows all reports at the end as JSON, and no tables
}

// Validate says what is wrong, naming the field; nil if nothing is.
func (v Verification) Validate() error {
	if v.Runs < 1 {
		return errs.BadParam("runs", "at least 1, not %d", v.Runs)
	}
	scenario, err := Find(v.Scenario)
	if err != nil {
		return errs.BadParam("scenario", "%s", err)
	}
	if err := scenario.Fits(v.Nodes); err != nil {
		return errs.BadParam("nodes", "%s", err)
	}
	return nil
}

// Verify runs a scenario as often as asked, shows each report and writes them
// all, again after each run: what comes later cannot take them away. It returns
// whether all passed; an error says that something could not be run at all, or
// that ctx ended. In a GitHub job the Markdown is added to the job's summary too.
func Verify(ctx context.Context, start Starter, v Verification, out, progress io.Writer) (passed bool, err error) {
	if err := v.Validate(); err != nil {
		return false, err
	}
	scenario, err := Find(v.Scenario)
	if err != nil {
		return false, err
	}
	reports := []*Report{}
	if err := v.write(reports); err != nil { // before they cost anything
		return false, err
	}
	for run := 1; run <= v.Runs && err == nil; run++ {
		o := Options{Nodes: v.Nodes, Progress: progress, LogDir: v.Report}
		if v.Runs > 1 {
			o.Run = run
		}
		var report *Report
		if report, err = Run(ctx, start, scenario, o); report != nil {
			reports = append(reports, report)
			err = errors.Join(err, v.write(reports), v.show(out, run, report))
		}
	}
	if v.JSON {
		err = errors.Join(err, showJSON(out, reports))
	}
	err = errors.Join(err, summarize(reports))
	missed := slices.ContainsFunc(reports, func(r *Report) bool { return !r.Passed() })
	return err == nil && !missed, err
}

// Finish writes and shows reports that were made at once.
func (v Verification) Finish(out io.Writer, reports []*Report) error {
	err := v.write(reports)
	for i, report := range reports {
		err = errors.Join(err, v.show(out, i+1, report))
	}
	if v.JSON {
		err = errors.Join(err, showJSON(out, reports))
	}
	return errors.Join(err, summarize(reports))
}

// write writes the reports there are, if there is a folder for them.
func (v Verification) write(reports []*Report) error {
	if v.Report == "" {
		return nil
	}
	return Write(v.Report, reports)
}

// show shows the report of a run, unless all are shown as JSON.
func (v Verification) show(out io.Writer, run int, r *Report) error {
	if v.JSON {
		return nil
	}
	text := r.Text() + "\n"
	if v.Runs > 1 {
		text = fmt.Sprintf("run %d of %d: %s", run, v.Runs, text)
	}
	_, err := io.WriteString(out, text)
	return err
}

func showJSON(out io.Writer, reports []*Report) error {
	raw, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return err
	}
	_, err = out.Write(append(raw, '\n'))
	return err
}

// summarize adds the reports to the summary of a GitHub job, if this is one.
func summarize(reports []*Report) error {
	file := os.Getenv("GITHUB_STEP_SUMMARY")
	if file == "" || len(reports) == 0 {
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
