package operations

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// SandboxCreateParams is a spec, and how long to wait for it.
type SandboxCreateParams struct {
	sandbox.Spec
	Wait string `json:"wait" enum:"running,placed" default:"running" doc:"return when it runs, or as soon as it is placed"`
}

// DecodeParams lets the spec be parsed as a whole, so that all its faults are
// told at once.
func (p *SandboxCreateParams) DecodeParams(members map[string]json.RawMessage) error {
	p.Wait = string(sandbox.WaitRunning)
	if raw, ok := members["wait"]; ok {
		if err := json.Unmarshal(raw, &p.Wait); err != nil {
			return errs.BadParam("wait", "must be %q or %q", sandbox.WaitRunning, sandbox.WaitPlaced)
		}
	}
	spec := map[string]json.RawMessage{}
	for name, raw := range members {
		if name != "wait" {
			spec[name] = raw
		}
	}
	raw, err := jsontext.Marshal(spec)
	if err != nil {
		return errs.Wrap(errs.BadParameter, err, "the spec cannot be read")
	}
	p.Spec, err = sandbox.Parse(raw)
	return err
}

// SandboxParams names a sandbox.
type SandboxParams struct {
	ID string `json:"sandbox_id" op:"required" doc:"the sandbox's id"`
}

// SandboxDestroyParams says which sandbox is to be destroyed, and how.
type SandboxDestroyParams struct {
	SandboxParams
	Force bool `json:"force" doc:"also if its node cannot be reached: that is decreed, and carried out when the node is back"`
}

// SandboxDestroyed says who has not heard of a destruction yet.
type SandboxDestroyed struct {
	Pending []string `json:"pending"` // nodes that could not be reached; they hear of it when they are back
}

// Decrees tells who knows what was destroyed.
type Decrees interface {
	// Pending names the configured nodes that have not heard of a decree yet.
	Pending(uid string) []string
}

// SandboxInfoParams says how much to tell of a sandbox.
type SandboxInfoParams struct {
	SandboxParams
	Children bool `json:"include_children" default:"true" doc:"list its processes, and those that ended"`
	Stats    bool `json:"include_stats" doc:"measure what its processes use together"`
}

// SandboxInfo is what the node that runs a sandbox knows of it.
type SandboxInfo struct {
	sandbox.Info
	Stats *sandbox.Stats `json:"stats,omitempty"`
}

// SandboxListParams filters the list of sandboxes.
type SandboxListParams struct {
	Status string `json:"status" enum:"starting,running,stopping,stopped,failed,unknown" doc:"only those in this state"`
	Label  string `json:"label" doc:"only those with this label: key or key=value"`
	pageParams
}

// SandboxList is a page of sandboxes, sorted by id.
type SandboxList struct {
	Sandboxes []memdb.Sandbox `json:"sandboxes"`
	Next      string          `json:"next,omitempty"`
}

func sandboxOps(d Deps) []*op.Op {
	return []*op.Op{
		op.Define(op.Spec{
			Name: "sandbox.create", Summary: "Start a sandbox", Method: http.MethodPost, Path: "/sandboxes",
			Command: "sandbox create FILE", Effect: op.Write, Runs: op.OnOwner, Timeout: 15 * time.Second, Status: http.StatusCreated,
			Description: "The parameters are the spec itself. It runs on the node its placement names, otherwise on the node asked. " +
				"The answer comes when its id is this sandbox's on all live nodes, they know its spec, it is on disk where the node has a data folder, " +
				"and all its children were started. A sandbox whose program " +
				"cannot be started is `failed` and stays visible, with the reason, until it is destroyed.",
			Errors: []errs.Kind{errs.BadSpec, errs.AlreadyExists, errs.Conflict},
			Examples: []op.Example{{
				Summary:  "two programs under one supervisor; the first answers every call",
				Params:   `{"id":"pair","children":[{"id":"a","protocol":"jsonrpc","run":{"exec":["sed","-u","s/\"method\".*/\"result\":\"done\"}/"]}},{"id":"b","run":{"exec":["sleep","600"]}}]}`,
				Volatile: []string{"uid", "created"},
			}},
		}, d.createSandbox, op.Owner(d.placeSandbox)),
		op.Define(op.Spec{
			Name: "sandbox.list", Summary: "List the sandboxes of all nodes", Method: http.MethodGet, Path: "/sandboxes",
			Command: "sandbox list", Effect: op.Read, Runs: op.Anywhere,
			Description: "A sandbox whose node is dead has the status `unknown`.",
			Examples:    []op.Example{{Summary: "all", Params: `{}`, Volatile: []string{"uid", "created"}}},
		}, d.listSandboxes),
		op.Define(op.Spec{
			Name: "sandbox.info", Summary: "Show a sandbox, its processes and how earlier ones ended", Method: http.MethodGet,
			Path: "/sandboxes/:sandbox_id", Command: "sandbox info SANDBOX_ID", Effect: op.Read, Runs: op.OnOwner,
			Errors:   []errs.Kind{errs.NotFound},
			Examples: []op.Example{{Summary: "one", Params: `{"sandbox_id":"pair"}`, Volatile: []string{"uid", "created", "pid", "os_pid", "started"}}},
		}, func(_ context.Context, in SandboxInfoParams) (SandboxInfo, error) { return d.sandboxInfo(in) }, op.Owner(func(ctx context.Context, in SandboxInfoParams) (string, error) {
			return d.sandboxOwner(ctx, in.SandboxParams)
		})),
		op.Define(op.Spec{
			Name: "sandbox.destroy", Summary: "Stop a sandbox and forget it", Method: http.MethodDelete,
			Path: "/sandboxes/:sandbox_id", Command: "sandbox destroy SANDBOX_ID", Effect: op.Destructive, Runs: op.OnOwner,
			Timeout: 30 * time.Second, Status: http.StatusNoContent,
			Description: "First all live nodes take down that it is to be no more, so that it comes back from no disk. Then the children are stopped " +
				"in reverse order, each with its shutdown time. The answer comes when nothing of it runs any more and all live nodes know. " +
				"While some of the cluster's nodes cannot be reached it is 200 with `pending`: they hear of it when they are back. " +
				"If the sandbox's own node cannot be reached it is `node_unavailable`, unless `force` is given.",
			Errors:   []errs.Kind{errs.NotFound},
			Examples: []op.Example{{Summary: "one", Params: `{"sandbox_id":"pair"}`}},
		}, d.destroySandbox, op.Owner(func(ctx context.Context, in SandboxDestroyParams) (string, error) {
			node, err := d.sandboxOwner(ctx, in.SandboxParams)
			if in.Force && errs.KindOf(err) == errs.NodeUnavailable {
				return d.Self, nil
			}
			return node, err
		})),
		op.Define(op.Spec{
			Name: "sandbox.restart", Summary: "Stop a sandbox and start it again", Method: http.MethodPost,
			Path: "/sandboxes/:sandbox_id/restart", Command: "sandbox restart SANDBOX_ID", Effect: op.Destructive, Runs: op.OnOwner,
			Timeout: 30 * time.Second,
			Description: "The children are stopped in reverse order, each with its shutdown time; when nothing of them is left they are started again. " +
				"It is the same creation, with the same uid; its supervisors count restarts anew. One that has failed is started again too.",
			Errors: []errs.Kind{errs.NotFound, errs.BadSpec, errs.Conflict},
			Examples: []op.Example{{
				Summary: "one", Params: `{"sandbox_id":"pair"}`, Volatile: []string{"uid", "created"},
			}},
		}, d.restartSandbox, op.Owner(d.sandboxOwner)),
	}
}

func (d Deps) sandboxInfo(in SandboxInfoParams) (SandboxInfo, error) {
	info, err := d.Sandboxes.Info(in.ID)
	if err != nil {
		return SandboxInfo{}, err
	}
	if !in.Children {
		info.Processes, info.History = []memdb.Process{}, []memdb.Process{}
	}
	if !in.Stats {
		return SandboxInfo{Info: info}, nil
	}
	stats, err := d.Sandboxes.SandboxStats(in.ID)
	return SandboxInfo{Info: info, Stats: &stats}, err
}

// placeSandbox picks the node a new sandbox runs on.
func (d Deps) placeSandbox(_ context.Context, in SandboxCreateParams) (string, error) {
	if row, taken := d.DB.View().Sandbox(in.ID); taken {
		advice := "destroy it first, or choose another id"
		if row.Status == memdb.SandboxUnknown {
			advice = "it keeps the id until that node is back (" + row.Why + "); choose another id, or destroy it with force"
		}
		return "", errs.New(errs.AlreadyExists, "sandbox %q already exists on node %s; %s", in.ID, row.Node, advice)
	}
	if in.Placement != nil && in.Placement.Node != "" {
		return in.Placement.Node, nil
	}
	return d.Self, nil
}

func (d Deps) createSandbox(ctx context.Context, in SandboxCreateParams) (memdb.Sandbox, error) {
	row, err := d.Sandboxes.Create(ctx, in.Spec, sandbox.Wait(in.Wait))
	if err != nil {
		return row, err
	}
	return row, d.Acknowledged(ctx)
}

// sandboxRow finds a sandbox that all nodes know, or that is this node's and waits for
// its id.
func (d Deps) sandboxRow(id string) (memdb.Sandbox, error) {
	if row, ok := d.DB.View().Sandbox(id); ok {
		return row, nil
	}
	if info, err := d.Sandboxes.Info(id); err == nil {
		return info.Sandbox, nil
	}
	return memdb.Sandbox{}, errs.New(errs.NotFound, "no sandbox %q on any node; sandbox.list shows which there are", id)
}

// sandboxOwner finds the node that runs a sandbox.
func (d Deps) sandboxOwner(_ context.Context, in SandboxParams) (string, error) {
	row, err := d.sandboxRow(in.ID)
	if err != nil {
		return "", err
	}
	if row.Status == memdb.SandboxUnknown {
		return "", errs.New(errs.NodeUnavailable, "sandbox %q is on node %s, which cannot be asked now; try again when it is back, or destroy it with force", in.ID, row.Node).
			WithWhy("%s", row.Why)
	}
	return row.Node, nil
}

// destroySandbox answers nothing, HTTP's 204, when every configured node knows.
func (d Deps) destroySandbox(ctx context.Context, in SandboxDestroyParams) (*SandboxDestroyed, error) {
	row, err := d.sandboxRow(in.ID)
	if err != nil {
		return nil, err
	}
	if in.Force && row.Node != d.Self && row.Status == memdb.SandboxUnknown {
		err = d.Sandboxes.Force(ctx, row)
	} else {
		err = d.Sandboxes.Destroy(ctx, in.ID, op.CallerFrom(ctx).String())
	}
	if err == nil {
		err = d.Acknowledged(ctx)
	}
	if err != nil {
		return nil, err
	}
	if pending := d.Decrees.Pending(row.UID); len(pending) > 0 {
		return &SandboxDestroyed{pending}, nil
	}
	return nil, nil
}

func (d Deps) restartSandbox(ctx context.Context, in SandboxParams) (memdb.Sandbox, error) {
	row, err := d.Sandboxes.Restart(ctx, in.ID, op.CallerFrom(ctx).String())
	if err != nil {
		return row, err
	}
	return row, d.Acknowledged(ctx)
}

func (d Deps) listSandboxes(_ context.Context, in SandboxListParams) (SandboxList, error) {
	key, value, exact := strings.Cut(in.Label, "=")
	rows := keep(d.DB.View().Sandboxes(), func(row memdb.Sandbox) bool {
		got, has := row.Labels[key]
		return (in.Status == "" || in.Status == string(row.Status)) && (in.Label == "" || has && (!exact || got == value))
	})
	items, next := page(rows, func(row memdb.Sandbox) string { return row.ID }, in.pageParams)
	for i := range items {
		items[i].Spec = nil // sandbox.info has it
	}
	return SandboxList{items, next}, nil
}
