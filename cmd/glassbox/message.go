package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

// message gives a message to a process.
func (a *app) message() *cobra.Command {
	cast, send := false, false
	cmd := &cobra.Command{
		Use: "message PID METHOD [PARAMS]", Short: "Give a message to a process", GroupID: "use",
		Long: "Calls a method of a program that speaks JSON-RPC on its standard input and output (a child with\n" +
			"`protocol: jsonrpc`) and prints the result as JSON. PID may be a name that a process holds.\n" +
			"PARAMS is a JSON object or array, - to read it from the standard input.",
		Example: "  glassbox message demo/counter increment '{\"by\":2}'\n  glassbox message demo/printer print '{\"text\":\"hello\"}' --cast\n" +
			"  glassbox message demo/counter --send '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\"}'",
		Args: func(cmd *cobra.Command, args []string) error {
			if cast && send {
				return errs.New(errs.BadParameter, "--cast and --send exclude each other: a line is sent as it is")
			}
			if send {
				return exactly("PID", "LINE")(cmd, args)
			}
			return exactly("PID", "METHOD", "[PARAMS]")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			params, err := a.messageParams(args, cast, send)
			if err != nil {
				return err
			}
			result, err := a.ask(cmd.Context(), "process.message", params)
			if err != nil {
				return err
			}
			return a.showAnswer(result, cast || send)
		},
	}
	cmd.Flags().BoolVar(&cast, "cast", false, "send a notification: nothing comes back")
	cmd.Flags().BoolVar(&send, "send", false, "write the one argument after PID as a line, as it is")
	return cmd
}

// messageParams makes the parameters of process.message.
func (a *app) messageParams(args []string, cast, send bool) (map[string]json.RawMessage, error) {
	kind, text := "call", any(args[1])
	if !send {
		body := map[string]any{"method": args[1]}
		if len(args) > 2 {
			raw, err := argument(a.in, args[2])
			if err != nil {
				return nil, err
			}
			if !json.Valid(raw) {
				return nil, errs.BadParam("message", "PARAMS must be a JSON object or array, not %s", raw)
			}
			body["params"] = json.RawMessage(raw)
		}
		text = body
	}
	switch {
	case cast:
		kind = "cast"
	case send:
		kind = "send"
	}
	params := map[string]json.RawMessage{}
	for name, value := range map[string]any{"pid": args[0], "message": text, "message_type": kind} {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		params[name] = raw
	}
	return params, nil
}

// showAnswer writes what the program answered; its own error is a failure.
func (a *app) showAnswer(raw json.RawMessage, silent bool) error {
	var m operations.Messaged
	if err := json.Unmarshal(raw, &m); err != nil {
		return errs.Wrap(errs.Internal, err, "the answer is not what was expected; this command and the node may be of different versions")
	}
	switch {
	case m.Error != nil && a.output == "json":
		if err := writeJSON(a.out, raw); err != nil {
			return err
		}
		return m.Error
	case m.Error != nil && len(m.Error.Data) > 0:
		return fmt.Errorf("%w: %s", m.Error, oneLineJSON(m.Error.Data))
	case m.Error != nil:
		return m.Error
	case a.output == "json":
		return writeJSON(a.out, raw)
	case silent:
		v := a.view()
		v.linef("written to %s", m.PID)
		return v.err
	default:
		return writeJSON(a.out, m.Result)
	}
}
