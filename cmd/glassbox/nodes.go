package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

// nodes shows the figures of all nodes: who is there by cluster.status, how
// they are by cluster.health.
func (a *app) nodes() *cobra.Command {
	return &cobra.Command{
		Use: "nodes", Short: "Show the figures of all nodes", GroupID: "use", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			rawStatus, err := a.ask(cmd.Context(), "cluster.status", nil)
			if err != nil {
				return err
			}
			rawHealth, err := a.ask(cmd.Context(), "cluster.health", map[string]json.RawMessage{"include_metrics": json.RawMessage("true")})
			if err != nil {
				return err
			}
			if a.output == "json" {
				return writeJSON(a.out, rawHealth)
			}
			return a.showNodes(rawStatus, rawHealth)
		},
	}
}

func (a *app) showNodes(rawStatus, rawHealth json.RawMessage) error {
	var status operations.ClusterStatus
	var health operations.ClusterHealth
	if err := json.Unmarshal(rawStatus, &status); err != nil {
		return errs.Wrap(errs.Internal, err, "the status cannot be read")
	}
	if err := json.Unmarshal(rawHealth, &health); err != nil {
		return errs.Wrap(errs.Internal, err, "the health cannot be read")
	}
	metrics := map[string]operations.Metrics{}
	for _, n := range health.Nodes {
		if n.Metrics != nil {
			metrics[n.Node] = *n.Metrics
		}
	}
	t := newTable("NODE", "STATE", "REACH", "RTT", "MEMORY", "GUARDIAN", "HEAP", "GOROUTINES", "FILES", "CPU", "ROWS")
	for _, n := range status.Nodes {
		m, answered := metrics[n.Name]
		count := func(i int) string {
			if !answered {
				return ""
			}
			return fmt.Sprint(i)
		}
		cpu := ""
		if answered {
			cpu = fmt.Sprintf("%.1f s", m.CPUSeconds)
		}
		t.add(n.Name, string(n.State), string(n.Reach), micros(n.RTTUS), megabytes(m.RSSBytes), megabytes(m.GuardianRSSBytes),
			megabytes(m.HeapBytes), count(m.Goroutines), count(m.OpenFiles), cpu, count(m.Rows))
	}
	v := a.view()
	v.table(t)
	v.errors(health.Errors)
	return v.err
}
