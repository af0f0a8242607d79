package main

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

// table of operations, to describe them: it is run on the node.
var described = operations.All(operations.Deps{})

// defaultTimeout is how long a node takes at most for an operation that it was
// given no time for.
func defaultTimeout(method string) time.Duration {
	for _, o := range described {
		if o.Name == method && o.Timeout > 0 {
			return o.Timeout
		}
	}
	return op.DefaultTimeout
}

// ownCommands are the operations whose command does more than call them.
var ownCommands = []string{"sandbox.create", "process.message"}

// addOperations makes a command of every operation that has one.
func (a *app) addOperations(root *cobra.Command) {
	for _, o := range described {
		if o.Command == "" || slices.Contains(ownCommands, o.Name) {
			continue
		}
		words := strings.Fields(o.Command)
		parent := root
		for len(words) > 1 && words[1] != strings.ToUpper(words[1]) {
			parent = child(parent, words[0])
			words = words[1:]
		}
		cmd := a.operation(o, words)
		if parent == root {
			cmd.GroupID = "use"
		}
		parent.AddCommand(cmd)
	}
}

// child returns the command that holds others on one noun.
func child(parent *cobra.Command, name string) *cobra.Command {
	for _, cmd := range parent.Commands() {
		if cmd.Name() == name {
			return cmd
		}
	}
	short := "Commands on a " + name
	if name == "registry" {
		short = "Commands on the registry of names"
	}
	cmd := &cobra.Command{Use: name, Short: short, GroupID: "use"}
	parent.AddCommand(cmd)
	return cmd
}

// notFlags are parameters that the command line sets by itself where it follows.
var notFlags = []string{"wait_ms", "follow"}

// operation makes the command of an operation: parameters in capitals are
// arguments, those in brackets may be left out; the others are flags.
func (a *app) operation(o *op.Op, words []string) *cobra.Command {
	var arguments []string
	for _, word := range words[1:] {
		arguments = append(arguments, strings.ToLower(strings.Trim(word, "[]")))
	}
	cmd := &cobra.Command{
		Use: strings.Join(words, " "), Short: o.Summary, Long: o.Summary + ".\n" + o.Description, Args: exactly(words[1:]...),
	}
	flags := map[string]string{} // parameter to flag
	for _, f := range o.Fields() {
		if !slices.Contains(arguments, f.Name) && !(o.Followed() && slices.Contains(notFlags, f.Name)) {
			flags[f.Name] = addFlag(cmd.Flags(), f)
		}
	}
	if flags["node"] == "" && !slices.Contains(arguments, "node") {
		flags["node"] = addFlag(cmd.Flags(), op.Field{Name: "node", Type: reflect.TypeFor[string](), Doc: "the node to run on"})
	}
	follow := new(bool)
	if o.Followed() {
		cmd.Flags().BoolVarP(follow, "follow", "f", false, "go on as more comes, until interrupted")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		params, err := paramsFrom(cmd, o, arguments, args, flags)
		if err != nil {
			return err
		}
		if *follow {
			return a.follow(cmd.Context(), o.Name, params)
		}
		result, err := a.askAll(cmd.Context(), o, params)
		if err != nil {
			return err
		}
		return a.show(o.Name, result)
	}
	return cmd
}

// addFlag makes the flag of a parameter and returns its name. Its default is
// the node's to fill in.
func addFlag(flags *pflag.FlagSet, f op.Field) string {
	name, doc := strings.ReplaceAll(f.Name, "_", "-"), f.Doc
	if len(f.Enum) > 0 {
		doc += " (" + strings.Join(f.Enum, ", ") + ")"
	}
	if f.Default != "" {
		doc += "; " + f.Default + " if not given"
	}
	switch kind := f.Type.Kind(); {
	case kind == reflect.Bool:
		flags.Bool(name, false, doc)
	case kind >= reflect.Int && kind <= reflect.Uint64:
		flags.Int64(name, 0, doc)
	default:
		flags.String(name, "", doc)
	}
	return name
}

// paramsFrom turns arguments and flags into parameters.
func paramsFrom(cmd *cobra.Command, o *op.Op, arguments, args []string, flags map[string]string) (map[string]json.RawMessage, error) {
	params := map[string]json.RawMessage{}
	set := func(name, text string) error {
		raw, err := o.FromText(name, []string{text})
		params[name] = raw
		return err
	}
	for i, arg := range args {
		if err := set(arguments[i], arg); err != nil {
			return nil, err
		}
	}
	for name, flag := range flags {
		if f := cmd.Flags().Lookup(flag); f.Changed {
			if err := set(name, f.Value.String()); err != nil {
				return nil, err
			}
		}
	}
	return params, nil
}

// askAll asks for all pages of a list, unless a limit was given.
func (a *app) askAll(ctx context.Context, o *op.Op, params map[string]json.RawMessage) (json.RawMessage, error) {
	_, limited := params["limit"]
	if limited || !o.Takes("cursor") {
		return a.ask(ctx, o.Name, params)
	}
	var merged map[string]json.RawMessage
	for {
		raw, err := a.ask(ctx, o.Name, params)
		if err != nil {
			return nil, err
		}
		var page map[string]json.RawMessage
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, errs.Wrap(errs.Internal, err, "a page of %s cannot be read", o.Name)
		}
		next := page["next"]
		delete(page, "next")
		if merged, err = mergePages(merged, page); err != nil {
			return nil, err
		}
		if len(next) == 0 {
			return json.Marshal(merged)
		}
		params["cursor"] = next
	}
}

// mergePages appends the lists of a page to those of the pages before.
func mergePages(merged, page map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	if merged == nil {
		return page, nil
	}
	for name, raw := range page {
		var before, more []json.RawMessage
		if json.Unmarshal(merged[name], &before) != nil || json.Unmarshal(raw, &more) != nil {
			continue // no list
		}
		all, err := json.Marshal(append(before, more...))
		if err != nil {
			return nil, err
		}
		merged[name] = all
	}
	return merged, nil
}
