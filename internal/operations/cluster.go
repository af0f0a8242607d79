package operations

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/fault"
	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/internal/op"
)

// ClusterStatus is how one node sees the cluster.
type ClusterStatus struct {
	Cluster    string           `json:"cluster"`
	Node       string           `json:"node"` // whose view this is
	Ready      bool             `json:"ready"`
	WaitsFor   []string         `json:"waits_for,omitempty"`
	Nodes      []cluster.Member `json:"nodes"`
	Alive      int              `json:"alive"`
	Configured int              `json:"configured"`
	Partition  string           `json:"partition"` // whole, partial or minority
	UptimeS    float64          `json:"uptime_s"`
	Version    string           `json:"version"`
	Faults     []fault.Rule     `json:"faults,omitempty"` // broken on purpose by this node
}

// ClusterHealthParams says how much to tell.
type ClusterHealthParams struct {
	Metrics bool `json:"include_metrics" doc:"add each node's figures"`
	History bool `json:"include_history" doc:"add each node's newest membership events"`
}

func clusterOps(d Deps) []*op.Op {
	return []*op.Op{
		op.Define(op.Spec{
			Name: "cluster.status", Summary: "Show the nodes as one of them sees them", Method: http.MethodGet, Path: "/cluster",
			Command: "status", Effect: op.Read, Runs: op.Anywhere, Early: true,
			Description: "Each node has a state, how it is reached, and why it is so. `node` shows another node's view.",
			Examples: []op.Example{{
				Summary: "this node's view", Params: `{}`, Volatile: []string{"rtt_us", "uptime_s", "why"},
			}},
		}, func(context.Context, struct{}) (ClusterStatus, error) { return d.status(), nil }),
		op.Define(op.Spec{
			Name: "cluster.health", Summary: "Say what is wrong, on all nodes", Method: http.MethodGet, Path: "/cluster/health",
			Command: "health", Effect: op.Read, Runs: op.Everywhere, Early: true,
			Description: "Causes rather than a verdict: an empty list is health. Each node tells its own; one that does not answer within a " +
				"second is among the errors.",
			Examples: []op.Example{{
				Summary: "with figures", Params: `{"include_metrics":true}`, Volatile: []string{"metrics", "operations"},
			}},
		}, d.health, op.Merge(mergeHealth)),
		op.Define(op.Spec{
			Name: "cluster.topology", Summary: "Show the nodes, what is on them and how one of them reaches the others", Method: http.MethodGet,
			Path: "/cluster/topology", Command: "topology", Effect: op.Read, Runs: op.Anywhere,
			Examples: []op.Example{{Summary: "this node's view", Params: `{}`, Volatile: []string{"rtt_us"}}},
		}, d.topology),
	}
}

func (d Deps) status() ClusterStatus {
	members := d.Members()
	s := ClusterStatus{
		Cluster: d.Cluster, Node: d.Self, Nodes: members, Configured: len(members), Partition: partitionOf(members),
		UptimeS: time.Since(d.Started).Seconds(), Version: d.Version, Faults: d.faults(),
	}
	s.Ready, s.WaitsFor = d.Ready()
	for _, m := range members {
		if m.State == cluster.Alive {
			s.Alive++
		}
	}
	return s
}

// historyLength is how many membership events health shows.
const historyLength = 20

// health is this node's share; the shares are merged.
func (d Deps) health(ctx context.Context, in ClusterHealthParams) (ClusterHealth, error) {
	members := d.Members()
	own := NodeHealth{Node: d.Self, Causes: append(causesOf(members), d.Causes()...)}
	for _, r := range d.faults() {
		own.Causes = append(own.Causes, Cause{
			Kind: "fault", Subject: r.Peer, Severity: Warning, Since: r.Since,
			Message: fmt.Sprintf("%s of the link to %s (%s), on purpose, until %s", r.Kind, r.Peer, r.Direction, r.Until.Format(time.TimeOnly)),
		})
	}
	if ready, waitsFor := d.Ready(); !ready {
		own.Causes = append(own.Causes, Cause{Kind: "not_ready", Subject: d.Self, Severity: Serious, Message: fmt.Sprint("waits for ", waitsFor)})
	}
	own.Healthy = len(own.Causes) == 0
	if in.Metrics {
		metrics := d.Probe()
		own.Metrics, own.Operations = &metrics, d.Table().Stats()
	}
	if in.History {
		history, err := d.membershipHistory(ctx)
		if err != nil {
			return ClusterHealth{}, err
		}
		own.History = history
	}
	return ClusterHealth{Healthy: own.Healthy, Partition: partitionOf(members), Nodes: []NodeHealth{own}}, nil
}

func (d Deps) membershipHistory(ctx context.Context) ([]string, error) {
	types := []string{}
	for _, t := range cluster.EventTypes() {
		types = append(types, string(t))
	}
	page, err := d.Events.Read(ctx, "", event.Filter{Types: types}, 0, false)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, e := range page.Events[max(0, len(page.Events)-historyLength):] {
		lines = append(lines, fmt.Sprintf("%s %s %s: %s", e.Time.Format(time.RFC3339Nano), e.Type, e.Subject, e.Why))
	}
	return slices.Clip(lines), nil
}
