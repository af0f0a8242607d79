// Command verify runs a scenario of package harness on containers and prints how
// it came out, as `glassbox verify` does on processes. `make verify-docker` runs
// it. It is a command of its own so that the node's binary does not carry
// Docker's client.
//
// Its exit code is 1 if an objective was missed, and 2 if nothing could be run:
// no Docker engine, or a mistake on the command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/testcontainers/testcontainers-go/log"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/testcontainers"
)

func main() {
	testcontainers.Reap()
	log.SetDefault(log.NewNoopLogger()) // the library tells of its discoveries
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// The exit codes.
const (
	passed = 0
	missed = 1
	failed = 2
)

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	v, err := parse(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return passed
	}
	ok := false
	if err == nil {
		ok, err = verify(ctx, v, out, errOut)
	}
	if ctx.Err() != nil { // whatever that broke off says nothing more
		err = errors.New("interrupted")
	}
	switch {
	case err != nil:
		fmt.Fprintf(errOut, "verify: %s\n", err)
		return failed
	case !ok:
		return missed
	default:
		return passed
	}
}

func parse(args []string, errOut io.Writer) (harness.Verification, error) {
	var v harness.Verification
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // a mistake is told once, by run
	flags.StringVar(&v.Scenario, "scenario", "baseline", "which `scenario` to run")
	flags.IntVar(&v.Nodes, "nodes", 0, "how many nodes; 0 is the scenario's own number")
	flags.IntVar(&v.Runs, "runs", 1, "how often to run it")
	flags.StringVar(&v.Report, "report", "", "`folder` for report.json, report.xml, report.md and, if it did not pass, logs")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(errOut)
		flags.Usage()
	}
	if err != nil {
		return v, err
	}
	if flags.NArg() > 0 {
		return v, fmt.Errorf("%q is too much; there are only flags, -h lists them", flags.Arg(0))
	}
	return v, v.Validate()
}

func verify(ctx context.Context, v harness.Verification, out, progress io.Writer) (bool, error) {
	if err := testcontainers.Available(); err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "glassbox-verify-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	binary, err := harness.Build(ctx, dir)
	if err != nil {
		return false, err
	}
	return harness.Verify(ctx, testcontainers.StartOn(testcontainers.Options{Binary: binary}), v, out, progress)
}
