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
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		a.color, a.columns = os.Getenv("NO_COLOR") == "", columns
	}
	os.Exit(a.run(ctx, os.Args[1:]))
}

// endings are the signals that end a command, and drain what it runs: an
// interrupt, a polite end, and a closed terminal, unless nohup asks to survive
// that.
func endings() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// columns is how wide the terminal is now, 0 if that is unknown.
func columns() int {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return width
}
