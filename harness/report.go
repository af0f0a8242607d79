package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Report is how a run came out.
type Report struct {
	Scenario string        `json:"scenario"`
	About    string        `json:"about"`
	Target   Target        `json:"target"`
	Nodes    int           `json:"nodes"` // 0: of several sizes
	Began    time.Time     `json:"began"`
	Took     time.Duration `json:"took_ns"`
	// Failure says why the run ended early, "" if it did not.
	Failure string `json:"failure,omitempty"`
	// Repeat says how to do exactly the same once more, where that can be had; it is
	// shown if the run did not pass.
	Repeat      string        `json:"repeat,omitempty"`
	Results     []Result      `json:"results"`
	Faults      []FaultReport `json:"faults,omitempty"`
	FailedCalls []string      `json:"failed_calls,omitempty"` // to live nodes, the first ones
	Ends        []End         `json:"ends,omitempty"`         // that nobody caused
	Unseen      []Loss        `json:"unseen,omitempty"`       // logs and events that could not be read
	Logs        []string      `json:"logs,omitempty"`         // files with the nodes' logs, if it did not pass
}

// FaultReport is one fault of a run.
type FaultReport struct {
	Fault  string   `json:"fault"`
	AtMS   float64  `json:"at_ms"`   // when it took effect, since the begin of the run
	CallMS float64  `json:"call_ms"` // how long the target took to do it
	Told   []string `json:"told"`    // what the others were told
}

// Passed reports whether everything asked for was met, and something was.
func (r *Report) Passed() bool {
	asked := slices.ContainsFunc(r.Results, func(r Result) bool { return r.Verdict != Shown })
	missed := slices.ContainsFunc(r.Results, func(r Result) bool { return r.Verdict == Missed || r.Verdict == NotMeasured })
	return asked && !missed && r.Failure == ""
}

// Result returns the result of an objective; false if it is not in the report.
func (r *Report) Result(name string) (Result, bool) {
	i := slices.IndexFunc(r.Results, func(r Result) bool { return r.Name == name })
	if i < 0 {
		return Result{}, false
	}
	return r.Results[i], true
}

// JSON writes the report for programs.
func (r *Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

// Write writes reports into a folder: JSON, JUnit and Markdown, each of all.
func Write(dir string, reports []*Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the folder for the report: %w", err)
	}
	raw, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return err
	}
	junit, err := JUnit(reports)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"report.json": append(raw, '\n'), "report.xml": junit, "report.md": []byte(Markdown(reports)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// size is the number of nodes in words.
func (r *Report) size() string {
	if r.Nodes == 0 {
		return "clusters of several sizes"
	}
	return fmt.Sprintf("%d nodes", r.Nodes)
}
