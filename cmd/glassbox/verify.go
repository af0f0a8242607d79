package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/internal/errs"
)

// verify runs the harness against this very program.
func (a *app) verify() *cobra.Command {
	v, target := harness.Verification{}, ""
	cmd := &cobra.Command{
		Use: "verify", Short: "Start clusters on this machine, break them, and hold them to what is promised", GroupID: "run", Args: exactly(),
		Long: "Starts real nodes as processes on loopback, breaks them as the scenario says, and prints a table of\n" +
			"objectives: what was asked for, what was measured, and the verdict. The exit code is 1 if anything\n" +
			"was missed or could not be measured. Scenarios: " + scenarioNames() + ".",
		Example: "  glassbox verify\n  glassbox verify --scenario kill --nodes 5 --report out",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := fromEnvironment(cmd.Flags(), a.getenv, "target", "scenario", "nodes", "runs", "report"); err != nil {
				return err
			}
			return a.runVerify(cmd.Context(), target, v)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&target, "target", string(harness.TargetProcess), "process (docker has a command of its own: make verify-docker)")
	flags.StringVar(&v.Scenario, "scenario", "baseline", "what is done and asked for")
	flags.IntVar(&v.Nodes, "nodes", 0, "how many nodes; 0 is the scenario's own number")
	flags.IntVar(&v.Runs, "runs", 1, "how often")
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

func (a *app) runVerify(ctx context.Context, target string, v harness.Verification) error {
	switch {
	case target != string(harness.TargetProcess):
		return errs.BadParam("target", "process, not %q; containers are verified by `make verify-docker`", target)
	case v.Runs < 1:
		return errs.BadParam("runs", "at least 1, not %d", v.Runs)
	}
	s, err := harness.Find(v.Scenario)
	if err != nil {
		return errs.BadParam("scenario", "%s", err)
	}
	if err := s.Fits(v.Nodes); err != nil {
		return errs.BadParam("nodes", "%s", err)
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
	passed, err := harness.Verify(ctx, harness.StartOn(harness.ProcessOptions{Binary: exe, Dir: dir}), v, a.out, a.err)
	if err != nil {
		return err
	}
	if !passed {
		return errs.New(errs.Internal, "not everything that is promised was met, see the table")
	}
	return nil
}
