package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/sandbox/demo"
)

// demo runs the programs of the demo sandbox.
func (a *app) demo() *cobra.Command {
	program := func(name, short, example string, run func(in io.Reader, out, log io.Writer) error) *cobra.Command {
		return &cobra.Command{
			Use: name, Short: short, Args: exactly(),
			Long:    short + ".\nIt reads JSON-RPC 2.0 from its standard input, a message a line, and answers on its standard output.",
			Example: "  echo '" + example + "' | glassbox demo " + name,
			RunE: func(cmd *cobra.Command, _ []string) error {
				ended := make(chan error, 1)
				go func() { ended <- run(a.in, a.out, a.err) }()
				select {
				case err := <-ended:
					return err
				case <-cmd.Context().Done(): // a read of the standard input has no other end
					return nil
				}
			},
		}
	}
	cmd := &cobra.Command{Use: "demo", Short: "The programs of the demo sandbox"}
	cmd.AddCommand(
		program("counter", "A number: get, increment (by), crash", `{"jsonrpc":"2.0","id":1,"method":"increment","params":{"by":2}}`, demo.Counter),
		program("printer", "Prints to its log: print (text)", `{"jsonrpc":"2.0","id":1,"method":"print","params":{"text":"hello"}}`, demo.Printer),
	)
	return cmd
}
