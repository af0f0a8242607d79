package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/internal/node"
)

// config shows the settings that serve would run with.
func (a *app) config() *cobra.Command {
	s := newSettings(node.DefaultConfig())
	cmd := &cobra.Command{
		Use: "config", Short: "Show every setting of a node and where its value comes from", GroupID: "run", Args: exactly(),
		Long: "Takes the flags of serve and shows what serve would run with, without running it.",
		RunE: func(*cobra.Command, []string) error {
			sources, err := s.resolve(a.getenv)
			if err != nil {
				return err
			}
			if err := a.showSettings(s, sources); err != nil {
				return err
			}
			return s.cfg.Validate()
		},
	}
	cmd.Flags().AddFlagSet(s.flags)
	cmd.Flags().SortFlags = false
	return cmd
}

func (a *app) showSettings(s *settings, sources map[string]string) error {
	type setting struct {
		Value  any    `json:"value"`
		Source string `json:"source"`
	}
	all := map[string]setting{}
	t := newTable("SETTING", "VALUE", "SOURCE")
	for _, name := range s.names {
		text, value := s.value(name)
		t.add(keyOf(name), text, sources[name])
		all[keyOf(name)] = setting{value, sources[name]}
	}
	if a.output == "json" {
		raw, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.out, string(raw))
		return err
	}
	return t.write(a.out, a.color, a.cutTo())
}
