package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/harness/sim"
	"github.com/glassbox-dev/glassbox/internal/errs"
)

// verify runs the harness against this very program.
func (a *app) verify() *cobra.Command {
	v, target, seed := harness.Verification{}, "", uint64(0)
	cmd := &cobra.Command{
		Use: "verify", Short: "Start clusters on this machine, break them, and hold them to what is promised", GroupID: "run", Args: exactly(),
		Long: "Starts real nodes as processes on loopback, or simulates them, breaks them as the scenario says, and\n" +
			"prints a table of objectives: what was asked for, what was measured, and the verdict, or with -o json\n" +
			"the reports. The exit code is 1 if anything was missed or could not be measured, 2 if nothing could be\n" +
			"run. Scenarios: " + scenarioNames() + "; and, simulated only, mixed: names race while links and nodes\n" +
			"break by chance, and rules are checked. A seed decides everything that is simulated.",
		Example: "  glassbox verify\n  glassbox verify --scenario kill --nodes 5 --report out\n  glassbox verify --target sim --runs 300 --seed 1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := fromEnvironment(cmd.Flags(), a.getenv, "target", "scenario", "nodes", "seed", "runs", "report"); err != nil {
				return err
			}
			if target == string(harness.TargetSim) {
				if !cmd.Flags().Changed("scenario") {
					v.Scenario = sim.MixedScenario
				}
				return a.simulate(cmd.Context(), v, seed)
			}
			if cmd.Flags().Changed("seed") {
				return errs.BadParam("seed", "only what is simulated has one (--target sim)")
			}
			return a.runVerify(cmd.Context(), target, v)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&target, "target", string(harness.TargetProcess), "process or sim (docker has a command of its own: make verify-docker)")
	flags.StringVar(&v.Scenario, "scenario", "baseline", "what is done and asked for; simulated it is mixed unless another is named")
	flags.IntVar(&v.Nodes, "nodes", 0, "how many nodes; 0 is the scenario's own number")
	flags.Uint64Var(&seed, "seed", 1, "of the first simulated run; each other one's is one more")
	flags.IntVar(&v.Runs, "runs", 1, "how often, at least 1")
	flags.StringVar(&v.Report, "report", "", "folder for report.json, report.xml (JUnit), report.md and, after a miss, the nodes' logs")
	flags.SortFlags = false
	return cmd
}

func scenarioNames() string {
	text := ""
	for i, s := range harness.Scenarios() {
		if i > 0 {
			text += ", "
		}
		text += s.Name
	}
	return text
}

// simulate verifies simulated clusters.
func (a *app) simulate(ctx context.Context, v harness.Verification, seed uint64) error {
	return a.verified(ctx, v, func(v harness.Verification) (bool, error) { return sim.Verify(ctx, v, seed, a.out, a.err) })
}

func (a *app) runVerify(ctx context.Context, target string, v harness.Verification) error {
	if target != string(harness.TargetProcess) {
		return errs.BadParam("target", "process or sim, not %q; containers are verified by `make verify-docker`", target)
	}
	for _, name := range []string{"addr", "token-file", "timeout", "wide"} {
		if a.client.flags.Changed(name) && a.getenv(envName(name)) == "" {
			return errs.BadParam(name, "verify starts nodes of its own and asks no other; leave --%s out", name)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	dir, err := os.MkdirTemp("", "glassbox-verify-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return a.verifyOn(ctx, harness.StartOn(harness.ProcessOptions{Binary: exe, Dir: dir}), v)
}

// verifyOn verifies clusters that start makes.
func (a *app) verifyOn(ctx context.Context, start harness.Starter, v harness.Verification) error {
	return a.verified(ctx, v, func(v harness.Verification) (bool, error) { return harness.Verify(ctx, start, v, a.out, a.err) })
}

// verified says how a verification came out.
func (a *app) verified(ctx context.Context, v harness.Verification, verify func(harness.Verification) (passed bool, err error)) error {
	// Whoever reads the table may go away: then the nodes must still be ended.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	v.JSON = a.output == "json"
	passed, err := verify(v)
	switch {
	case ctx.Err() != nil: // whatever that broke off says nothing more
		return errs.New(errs.Internal, "interrupted")
	case errs.KindOf(err) == errs.BadParameter:
		return err
	case err != nil:
		return errs.Wrap(errs.BadParameter, err, "verify")
	case !passed:
		return errs.New(errs.Internal, "not everything that is promised was met, see the table")
	}
	return nil
}
