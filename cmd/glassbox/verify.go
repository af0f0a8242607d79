package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

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
			"objectives: what was asked for, what was measured, and the verdict, or with -o json the reports. The\n" +
			"exit code is 1 if anything was missed or could not be measured, 2 if nothing could be run. Scenarios: " + scenarioNames() + ".",
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

func (a *app) runVerify(ctx context.Context, target string, v harness.Verification) error {
	if target != string(harness.TargetProcess) {
		return errs.BadParam("target", "process, not %q; containers are verified by `make verify-docker`", target)
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
	// Whoever reads the table may go away: then the nodes must still be ended.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	v.JSON = a.output == "json"
	passed, err := harness.Verify(ctx, start, v, a.out, a.err)
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
