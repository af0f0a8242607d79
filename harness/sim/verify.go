package sim

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/internal/errs"
)

// MixedScenario is the name of the plans that are made by chance.
const MixedScenario = "mixed"

// shrinkFor bounds how long a failing plan is made smaller.
const shrinkFor = 20 * time.Second

// Verify simulates what a command was asked for: [MixedScenario], or a scenario of
// package harness. It shows each report, or the one of all mixed runs, and writes
// them; seed is that of the first run, each other one's is one more. It returns
// whether no rule was seen broken and every objective met. The first seed that fails
// is told with its smallest schedule and the command that repeats it.
func Verify(ctx context.Context, v harness.Verification, seed uint64, out, progress io.Writer) (passed bool, err error) {
	if v.Scenario != MixedScenario {
		return verifyScenario(ctx, v, seed, out)
	}
	if v.Runs < 1 {
		return false, errs.BadParam("runs", "at least 1, not %d", v.Runs)
	}
	if v.Nodes != 0 && v.Nodes < 2 || v.Nodes > harness.MaxNodes {
		return false, errs.BadParam("nodes", "2 to %d, or 0 for 3 to 5 by the seed, not %d", harness.MaxNodes, v.Nodes)
	}
	if v.Report != "" {
		if err := harness.Write(v.Report, []*harness.Report{}); err != nil { // before it costs anything
			return false, err
		}
	}
	began := time.Now()
	m := mixed{v, seed}
	outcomes, err := m.all(ctx, progress)
	if err != nil {
		return false, err
	}
	report := m.report(outcomes)
	for _, o := range outcomes {
		if !o.Passed() {
			m.explain(o, report, progress)
			break
		}
	}
	report.Began, report.Took = began.UTC(), time.Since(began)
	v.Runs = 1 // one report of all
	return finish(v, []*harness.Report{report}, out)
}

// verifyScenario simulates a scenario that also runs on real nodes.
func verifyScenario(ctx context.Context, v harness.Verification, seed uint64, out io.Writer) (passed bool, err error) {
	if err := v.Validate(); err != nil {
		return false, err
	}
	s, err := harness.Find(v.Scenario)
	if err != nil {
		return false, err
	}
	var reports []*harness.Report
	for run := range v.Runs {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		report, err := RunScenario(s, v.Nodes, seed+uint64(run))
		if err != nil {
			return false, err
		}
		reports = append(reports, report)
	}
	return finish(v, reports, out)
}

// finish writes and shows the reports.
func finish(v harness.Verification, reports []*harness.Report, out io.Writer) (passed bool, err error) {
	if err := v.Finish(out, reports); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(reports, func(r *harness.Report) bool { return !r.Passed() }), nil
}

// mixed is what was asked for of mixed runs.
type mixed struct {
	harness.Verification
	seed uint64
}

// nodes is how many a run has.
func (m mixed) nodes(seed uint64) int {
	if m.Nodes > 0 {
		return m.Nodes
	}
	return 3 + int(seed%3)
}

// all runs the plans, each in one goroutine; the outcomes are in the order of the
// seeds.
func (m mixed) all(ctx context.Context, progress io.Writer) ([]*Outcome, error) {
	outcomes := make([]*Outcome, m.Runs)
	errors := make([]error, m.Runs)
	todo := make(chan int)
	var mu sync.Mutex
	done := 0
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), m.Runs) {
		workers.Go(func() {
			for i := range todo {
				seed := m.seed + uint64(i)
				outcomes[i], errors[i] = Run(Mixed(seed, m.nodes(seed)))
				mu.Lock()
				if done++; progress != nil && done%50 == 0 {
					fmt.Fprintf(progress, "%d of %d runs\n", done, m.Runs)
				}
				mu.Unlock()
			}
		})
	}
	for i := range m.Runs {
		if ctx.Err() != nil {
			break
		}
		todo <- i
	}
	close(todo)
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, err := range errors {
		if err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

func (m mixed) report(outcomes []*Outcome) *harness.Report {
	var broken, operations, faults, virtual, cost []float64
	for _, o := range outcomes {
		n := 0
		for _, a := range o.Plan.Acts {
			n += len(a.Faults)
		}
		broken = append(broken, float64(len(o.Broken)))
		operations = append(operations, float64(len(o.History.Entries)))
		faults = append(faults, float64(n))
		virtual = append(virtual, o.Virtual.Seconds())
		cost = append(cost, float64(o.Real.Milliseconds())/(o.Virtual.Minutes()*float64(o.Plan.Nodes)))
	}
	none := 0.0
	return &harness.Report{
		Scenario: MixedScenario, About: "names race, links and nodes break by chance; rules are checked when all is quiet", Target: harness.TargetSim, Nodes: m.Nodes,
		Results: []harness.Result{
			harness.Judged("rules_broken", "rules seen broken, in a run", "", &none, broken),
			harness.Judged("operations", "operations in a run", "", nil, operations),
			harness.Judged("faults", "things done to the cluster in a run", "", nil, faults),
			harness.Judged("virtual", "virtual time of a run", "s", nil, virtual),
			harness.Judged("cost", "real time for a node and a virtual minute", "ms", nil, cost),
		},
	}
}

// explain makes a failing plan small and tells it.
func (m mixed) explain(o *Outcome, report *harness.Report, progress io.Writer) {
	if progress != nil {
		fmt.Fprintf(progress, "seed %d fails; its schedule is made smaller, for up to %s\n", o.Plan.Seed, shrinkFor)
	}
	small := Shrink(o.Plan, shrinkFor)
	again, err := Run(small)
	if err != nil || again.Passed() {
		small, again = o.Plan, o
	}
	command := Command(o.Plan.Seed, o.Plan.Nodes)
	report.Failure = fmt.Sprintf("seed %d: %s\n\nthe smallest schedule that was found to fail:\n%s\nrepeat the whole run: %s",
		o.Plan.Seed, strings.Join(slices.Compact(again.Broken), "\n  "), small, command)
	if m.Report == "" {
		return
	}
	for name, text := range map[string]string{"": o.Log, "-small": again.Log} {
		file := filepath.Join(m.Report, fmt.Sprintf("sim-seed%d%s.log", o.Plan.Seed, name))
		if err := os.MkdirAll(m.Report, 0o755); err == nil && os.WriteFile(file, []byte(text), 0o644) == nil {
			report.Logs = append(report.Logs, file)
		}
	}
}
