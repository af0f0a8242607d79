package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// app is one run of the command line, with everything it touches of the
// process it runs in.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	color    bool       // out is a terminal that shows colours
	columns  func() int // how wide out is; nil where it is no terminal

	output string // table or json
	client clientFlags
	living string // address of the node that was found last
}

// run runs the command line and returns its exit code.
func (a *app) run(ctx context.Context, args []string) int {
	a.err = visible{a.err}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil || ctx.Err() != nil && errs.KindOf(err) == errs.Cancelled {
		return errs.ExitOK
	}
	return a.fail(err)
}

// fail tells an error and returns the exit code of its kind.
func (a *app) fail(err error) int {
	e := errs.From(err)
	if a.output == "json" {
		raw, marshalErr := json.Marshal(errs.ProblemOf(err))
		if marshalErr == nil {
			fmt.Fprintln(a.err, string(raw))
			return e.Kind.Property().Exit
		}
	}
	if len(e.Faults) > 0 {
		fmt.Fprintf(a.err, "glassbox: the spec has %d fault(s):\n", len(e.Faults))
		for _, fault := range e.Faults {
			fmt.Fprintf(a.err, "  %s: %s\n", fault.Pointer, fault.Message)
		}
	} else {
		fmt.Fprintln(a.err, "glassbox:", message(err))
	}
	if e.Why != "" {
		fmt.Fprintln(a.err, "  why:", e.Why)
	}
	return e.Kind.Property().Exit
}

// message leaves out what only programs need to know of a bare error.
func message(err error) string {
	var e *errs.Error
	if errors.As(err, &e) && e.Node != "" {
		return fmt.Sprintf("%s (said by node %s)", err, e.Node)
	}
	return err.Error()
}

// root puts the commands together.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "glassbox",
		Short: "A clustered sandbox server you can see into",
		Long: "Glassbox starts isolated sandboxes, supervision trees of real processes, on any node of a\n" +
			"small cluster, and shows them from any node.\n\n" +
			"`glassbox dev` starts a cluster on this machine; the other commands find it by themselves.\n" +
			"`glassbox completion bash` (or zsh, fish) prints what completes commands in a shell.\n" +
			"Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unavailable or timeout.",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.client.check(a) },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return errs.Wrap(errs.BadParameter, err, "%s (`%s --help` lists the flags)", "wrong flag", cmd.CommandPath())
	})
	a.client.register(a, root.PersistentFlags())
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run a cluster:"}, &cobra.Group{ID: "use", Title: "See into it:"})
	root.AddCommand(a.serve(), a.dev(), a.verify(), a.demo(), a.config(), a.version())
	a.addOperations(root)
	root.AddCommand(a.nodes(), a.subscribe(), a.message(), a.call())
	group(root).AddCommand(a.create())
	root.InitDefaultCompletionCmd() // cobra would add it later, and it would not be strict
	strictly(root)
	return root
}

// group returns the command that holds the sandbox commands, which the table
// of operations has made.
func group(root *cobra.Command) *cobra.Command {
	cmd, _, err := root.Find([]string{"sandbox"})
	if err != nil {
		panic(err) // the table always has sandbox operations
	}
	return cmd
}

// strictly makes every command that only holds others refuse what it does not
// know instead of printing its help.
func strictly(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		strictly(sub)
	}
	if cmd.RunE != nil || cmd.Run != nil {
		return
	}
	cmd.Args, cmd.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
			hint = "; did you mean " + strings.Join(names, " or ") + "?"
		}
		return errs.New(errs.BadParameter, "there is no command %q (`%s --help` lists them)%s",
			strings.TrimSpace(cmd.CommandPath()+" "+args[0]), cmd.CommandPath(), hint)
	}
}

// exactly demands these arguments; those in brackets, at the end, may be left
// out.
func exactly(names ...string) cobra.PositionalArgs {
	least := len(names)
	for least > 0 && strings.HasPrefix(names[least-1], "[") {
		least--
	}
	return func(cmd *cobra.Command, args []string) error {
		if least <= len(args) && len(args) <= len(names) {
			return nil
		}
		want := "no arguments"
		if len(names) > 0 {
			want = strings.Join(names, " ")
		}
		return errs.New(errs.BadParameter, "%s takes %s, not %d argument(s): %s", cmd.CommandPath(), want, len(args), cmd.UseLine())
	}
}

// fromEnvironment sets the flags that were not given from GLASSBOX_ variables,
// and reports which.
func fromEnvironment(flags *pflag.FlagSet, getenv func(string) string, names ...string) (map[string]string, error) {
	sources := map[string]string{}
	for _, name := range names {
		variable := envName(name)
		value := getenv(variable)
		if value == "" || flags.Changed(name) {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return nil, errs.Wrap(errs.BadParameter, err, "%s=%q", variable, value)
		}
		sources[name] = variable
	}
	return sources, nil
}

func envName(flag string) string {
	return "GLASSBOX_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
