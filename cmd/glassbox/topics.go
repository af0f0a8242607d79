package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

func showPublished(v *view, p operations.Published) {
	if p.Nodes == 1 {
		v.linef("published by %s, the only node alive", p.Node)
		return
	}
	v.linef("published by %s to %d nodes", p.Node, p.Nodes)
}

// subscribe follows a topic; `events --topic` reads what is kept of it.
func (a *app) subscribe() *cobra.Command {
	after, node := "now", ""
	cmd := &cobra.Command{
		Use: "subscribe TOPIC", Short: "Show the messages of a topic as they are published", GroupID: "use", Args: exactly("TOPIC"),
		Long: "Shows the messages that are published to TOPIC, by whichever node, until it is interrupted.\n" +
			"A message comes at most once; a Gap tells how many were missed.",
		Example: "  glassbox subscribe shop/orders\n  glassbox publish shop/orders '{\"item\":7}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := registry.ValidName("topic", args[0]); err != nil {
				return err // an empty one would be all events
			}
			params := map[string]json.RawMessage{}
			for name, value := range map[string]string{"topic": args[0], "after": after, "node": node} {
				if value == "" {
					continue
				}
				raw, err := json.Marshal(value)
				if err != nil {
					return err
				}
				params[name] = raw
			}
			return a.follow(cmd.Context(), "event.list", params)
		},
	}
	cmd.Flags().StringVar(&after, "after", after, "go on behind the message with this id; \"\" begins with the oldest that is kept")
	cmd.Flags().StringVar(&node, "node", "", "the node to listen at")
	return cmd
}
