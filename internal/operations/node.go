package operations

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// NodeInfoParams says what to tell of a node.
type NodeInfoParams struct {
	Processes    bool `json:"include_processes" doc:"list the node's processes too"`
	ProcessLimit int  `json:"process_limit" default:"100" min:"1" max:"1000" doc:"at most this many processes"`
}

// NodeInfo is what a node says of itself.
type NodeInfo struct {
	memdb.Node
	Ready     bool     `json:"ready"`
	WaitsFor  []string `json:"waits_for,omitempty"` // what it waits for before it is ready
	UptimeS   float64  `json:"uptime_s"`
	Sandboxes int      `json:"sandboxes"` // how many it runs
	Metrics   Metrics  `json:"metrics"`
	// Isolation is what confines programs on this node, found out by trying.
	Isolation isolation.Report `json:"isolation"`
	Processes []Process        `json:"processes,omitempty"`
}

// PingParams is anything.
type PingParams struct {
	Payload json.RawMessage `json:"payload" doc:"comes back unchanged"`
}

// Pong is what came.
type Pong struct {
	Node    string          `json:"node"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// NodeCallParams is an operation to run on a node.
type NodeCallParams struct {
	Method string          `json:"method" op:"required" doc:"the operation's name"`
	Params json.RawMessage `json:"params" doc:"its parameters"`
}

// Leaving says that a node has begun to leave.
type Leaving struct {
	Node    string `json:"node"`
	Leaving bool   `json:"leaving"`
}

func nodeOps(d Deps) []*op.Op {
	return []*op.Op{
		op.Define(op.Spec{
			Name: "node.info", Summary: "Show what a node says of itself", Method: http.MethodGet, Path: "/cluster/nodes/:node/info",
			Command: "node info NODE", Effect: op.Read, Runs: op.OnOwner, Early: true,
			Examples: []op.Example{{
				Summary: "a node", Params: `{"node":"${node}"}`,
				Volatile: []string{"uptime_s", "metrics", "isolation"},
			}},
		}, d.nodeInfo),
		op.Define(op.Spec{
			Name: "node.ping", Summary: "Send a payload to a node and get it back", Method: http.MethodPost, Path: "/cluster/nodes/:node/ping",
			Command: "ping NODE", Effect: op.Read, Runs: op.OnOwner, Early: true,
			Description: "The smallest operation there is, for trying the way to a node and for measuring it.",
			Examples:    []op.Example{{Summary: "a word", Params: `{"node":"${node}","payload":"hello"}`}},
		}, func(_ context.Context, in PingParams) (Pong, error) {
			return Pong{d.Self, in.Payload}, sabotage()
		}),
		op.Define(op.Spec{
			Name: "node.call", Summary: "Run any operation on a node", Method: http.MethodPost, Path: "/cluster/nodes/:node/call",
			Effect: op.Destructive, Runs: op.OnOwner, Early: true, Timeout: 30 * time.Second,
			Description: "The same as the operation with the parameter `node`, for callers that have the operation's name as data.",
			Errors:      []errs.Kind{errs.MethodNotFound},
			Examples:    []op.Example{{Summary: "a ping", Params: `{"node":"${node}","method":"node.ping","params":{"node":"${node}","payload":1}}`}},
		}, func(ctx context.Context, in NodeCallParams) (json.RawMessage, error) {
			if in.Method == "node.call" { // else one request could go round the cluster for ever
				return nil, errs.BadParam("method", "node.call does not call itself; name the operation that is meant")
			}
			return d.Table().Invoke(ctx, op.Request{Method: in.Method, Params: in.Params, Caller: op.CallerFrom(ctx)})
		}),
		op.Define(op.Spec{
			Name: "node.leave", Summary: "Make a node leave the cluster and end", Method: http.MethodPost, Path: "/cluster/nodes/:node/leave",
			Command: "node leave NODE", Effect: op.Destructive, Runs: op.OnOwner, Early: true,
			Description: "The node stops its sandboxes, says goodbye and ends. The answer comes when it has begun to; the event MemberLeft " +
				"on the other nodes tells when it is done.",
		}, func(context.Context, struct{}) (Leaving, error) {
			d.Leave()
			return Leaving{d.Self, true}, nil
		}),
	}
}

func (d Deps) nodeInfo(ctx context.Context, in NodeInfoParams) (NodeInfo, error) {
	view := d.DB.View()
	info := NodeInfo{UptimeS: time.Since(d.Started).Seconds(), Metrics: d.Probe()}
	info.Node, _ = view.Node(d.Self)
	info.Ready, info.WaitsFor = d.Ready()
	var err error
	if info.Isolation, err = d.Isolation(ctx); err != nil {
		return info, err
	}
	info.Sandboxes = len(keep(view.Sandboxes(), func(row memdb.Sandbox) bool { return row.Node == d.Self }))
	if in.Processes {
		own := keep(view.Processes(), func(row memdb.Process) bool { return row.Node == d.Self })
		sortBy(own, processKeys["node"])
		info.Processes = d.named(own[:min(len(own), in.ProcessLimit)])
	}
	return info, nil
}
