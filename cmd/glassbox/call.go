package main

import (
	"encoding/json"
	"io"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// call runs any operation.
func (a *app) call() *cobra.Command {
	node := ""
	cmd := &cobra.Command{
		Use: "call METHOD [PARAMS]", Short: "Run any operation and print its result as JSON", GroupID: "use",
		Long: "Runs any operation of docs/api.md (`glassbox call rpc.discover` describes them all).\n" +
			"PARAMS is a JSON object, - to read it from the standard input.",
		Example: "  glassbox call cluster.status\n  glassbox call process.list '{\"sandbox\":\"demo\"}'",
		Args:    exactly("METHOD", "[PARAMS]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			params := map[string]json.RawMessage{}
			if len(args) == 2 {
				raw, err := argument(a.in, args[1])
				if err != nil {
					return err
				}
				if err := json.Unmarshal(raw, &params); err != nil {
					return errs.Wrap(errs.BadParameter, err, "PARAMS must be a JSON object")
				}
			}
			if node != "" {
				raw, err := json.Marshal(node)
				if err != nil {
					return err
				}
				params["node"] = raw
			}
			result, err := a.ask(cmd.Context(), args[0], params)
			if err != nil {
				return err
			}
			return writeJSON(a.out, result)
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "the node to run on")
	return cmd
}

// argument returns an argument, or the standard input for "-".
func argument(in io.Reader, arg string) ([]byte, error) {
	if arg != "-" {
		return []byte(arg), nil
	}
	raw, err := io.ReadAll(in)
	if err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "the standard input cannot be read")
	}
	return raw, nil
}

// toJSON turns YAML, of which JSON is a part, into JSON.
func toJSON(raw []byte) ([]byte, error) {
	converted, err := yaml.YAMLToJSON(raw)
	if err != nil {
		return nil, errs.New(errs.BadParameter, "neither YAML nor JSON: %s", yaml.FormatError(err, false, true))
	}
	return converted, nil
}
