package operations

import (
	"context"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/memdb"
)

// TopologyParams says how much to tell of the topology.
type TopologyParams struct {
	Processes bool `json:"include_processes" doc:"list the processes of each node"`
	Health    bool `json:"include_health" doc:"say what is wrong with each node, as far as the node asked knows"`
}

// TopologyNode is one node and what is on it.
type TopologyNode struct {
	Name      string          `json:"name"`
	State     cluster.State   `json:"state"`
	HTTP      string          `json:"http,omitempty"` // where its API is, if that is known
	RPC       string          `json:"rpc"`
	Version   string          `json:"version,omitempty"`
	Sandboxes []string        `json:"sandboxes"` // their ids
	Processes []memdb.Process `json:"processes,omitempty"`
	Causes    []Cause         `json:"causes,omitempty"`
}

// TopologyLink is how the node asked reaches another one.
type TopologyLink struct {
	From  string        `json:"from"`
	To    string        `json:"to"`
	Reach cluster.Reach `json:"reach"`
	RTTUS int64         `json:"rtt_us"` // newest ping's round trip
}

// Topology is the cluster as one node sees it.
type Topology struct {
	Node  string         `json:"node"` // whose view this is
	Nodes []TopologyNode `json:"nodes"`
	Links []TopologyLink `json:"links"`
}

func (d Deps) topology(_ context.Context, in TopologyParams) (Topology, error) {
	view, members := d.DB.View(), d.Members()
	sandboxes, processes := map[string][]string{}, map[string][]memdb.Process{}
	for _, row := range view.Sandboxes() {
		sandboxes[row.Node] = append(sandboxes[row.Node], row.ID)
	}
	if in.Processes {
		for _, row := range view.Processes() {
			processes[row.Node] = append(processes[row.Node], row)
		}
	}
	var causes []Cause
	if in.Health {
		causes = append(causesOf(members), d.Causes()...)
	}
	t := Topology{Node: d.Self, Nodes: []TopologyNode{}, Links: []TopologyLink{}}
	for _, m := range members {
		row, _ := view.Node(m.Name)
		node := TopologyNode{
			Name: m.Name, State: m.State, HTTP: row.HTTP, RPC: m.Addr, Version: row.Version,
			Sandboxes: sandboxes[m.Name], Processes: processes[m.Name],
			Causes: keep(causes, func(c Cause) bool { return c.Subject == m.Name }),
		}
		if node.Sandboxes == nil {
			node.Sandboxes = []string{}
		}
		t.Nodes = append(t.Nodes, node)
		if !m.Self {
			t.Links = append(t.Links, TopologyLink{d.Self, m.Name, m.Reach, m.RTTUS})
		}
	}
	return t, nil
}
