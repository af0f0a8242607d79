// Glassbox is a clustered sandbox server you can see into. `glassbox help`
// lists what it does.
//
// The one binary is the server, its client, the demo's programs and, as
// `glassbox guardian`, the parent of all programs that a node runs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "guardian" {
		os.Exit(exec.GuardianMain())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		color: term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "",
	}
	os.Exit(a.run(ctx, os.Args[1:]))
}
