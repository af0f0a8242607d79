package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/sandbox/demo"
)

// demo runs the programs of the demo sandbox.
func (a *app) demo() *cobra.Command {
	program := func(name, short string, run func(context.Context, io.Writer) error) *cobra.Command {
		return &cobra.Command{
			Use: name, Short: short, Args: exactly(),
			RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), a.out) },
		}
	}
	cmd := &cobra.Command{Use: "demo", Short: "The programs of the demo sandbox"}
	cmd.AddCommand(
		program("counter", "Print 1, 2, 3 …, a line a second", demo.Counter),
		program("printer", "Print the time, a line a second", demo.Printer),
	)
	return cmd
}
