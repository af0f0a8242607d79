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
)

// MixedScenario is the name of the plans that are made by chance.
const MixedScenario = "mixed"

// shrinkFor bounds how long a failing plan is made smaller.
const shrinkFor = 20 * time.Second

// Verification is what a command was asked for.
type Verification struct {
	Seed   uint64 // of the first run; each other one's is one more
	Nodes  int    // 0: 3 to 5, by the seed
	Runs   int
	Report string // folder for the report and the log of a run that failed; "" for none
}

// nodes is how many a run has.
func (v Verification) nodes(seed uint64) int {
	if v.Nodes > 0 {
		return v.Nodes
	}
	return 3 + int(seed%3)
}

// Verify runs mixed plans, on all cores, shows the report, and writes it. It
// returns whether no rule was seen broken; the first seed that fails is told with its
// smallest schedule and the command that repeats it.
func Verify(ctx context.Context, v Verification, out, progress io.Writer) (passed bool, err error) {
	began := time.Now()
	outcomes, err := v.all(ctx, progress)
	if err != nil {
		return false, err
	}
	report := v.report(outcomes)
	report.Began, report.Took = began.UTC(), time.Since(began)
	for _, o := range outcomes {
		if !o.Passed() {
			v.explain(o, report, progress)
			break
		}
	}
	if v.Report != "" {
		if err := harness.Write(v.Report, []*harness.Report{report}); err != nil {
			return false, err
		}
	}
	_, err = fmt.Fprintln(out, report.Text())
	if err == nil && report.Failure != "" {
		_, err = fmt.Fprintln(out, report.Failure)
	}
	return report.Passed(), err
}

// all runs the plans, each in one goroutine; the outcomes are in the order of the
// seeds.
func (v Verification) all(ctx context.Context, progress io.Writer) ([]*Outcome, error) {
	outcomes := make([]*Outcome, v.Runs)
	errors := make([]error, v.Runs)
	todo := make(chan int)
	var mu sync.Mutex
	done := 0
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), v.Runs) {
		workers.Go(func() {
			for i := range todo {
				seed := v.Seed + uint64(i)
				outcomes[i], errors[i] = Run(Mixed(seed, v.nodes(seed)))
				mu.Lock()
				if done++; progress != nil && done%50 == 0 {
					fmt.Fprintf(progress, "%d of %d runs\n", done, v.Runs)
				}
				mu.Unlock()
			}
		})
	}
	for i := range v.Runs {
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

func (v Verification) report(outcomes []*Outcome) *harness.Report {
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
		Scenario: MixedScenario, About: "names race, links and nodes break by chance; rules are checked when all is quiet", Target: harness.TargetSim, Nodes: v.Nodes,
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
func (v Verification) explain(o *Outcome, report *harness.Report, progress io.Writer) {
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
	if v.Report == "" {
		return
	}
	for name, text := range map[string]string{"": o.Log, "-small": again.Log} {
		file := filepath.Join(v.Report, fmt.Sprintf("sim-seed%d%s.log", o.Plan.Seed, name))
		if err := os.MkdirAll(v.Report, 0o755); err == nil && os.WriteFile(file, []byte(text), 0o644) == nil {
			report.Logs = append(report.Logs, file)
		}
	}
}
