package operations

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// SupervisorListParams filters the list of supervisors.
type SupervisorListParams struct {
	Sandbox  string `json:"sandbox" doc:"only those of this sandbox"`
	Children bool   `json:"include_children" doc:"list the processes of its children too"`
}

// SupervisorRow is a supervisor and how it fares.
type SupervisorRow struct {
	memdb.Process
	sandbox.Supervisor
	Children []memdb.Process `json:"children,omitempty"`
}

// SupervisorList are the supervisors of all nodes, by node and sandbox, each before
// those below it.
type SupervisorList struct {
	Supervisors []SupervisorRow `json:"supervisors"`
	Errors      []op.NodeError  `json:"errors,omitempty"`
}

// SupervisorTreeParams says how much to tell of the trees.
type SupervisorTreeParams struct {
	Sandbox  string `json:"sandbox" doc:"only that of this sandbox"`
	Children bool   `json:"include_children" default:"true" doc:"show what is below the root"`
	Details  bool   `json:"include_process_details" doc:"tell all of each process, and how each supervisor fares"`
	MaxDepth int    `json:"max_depth" min:"1" default:"100" doc:"show so many levels below the root"`
}

// TreeNode is a process in a supervision tree and what is below it.
type TreeNode struct {
	PID       string              `json:"pid"`
	Child     string              `json:"child"` // the ids of the child and of the supervisors above it; "" is the root
	Type      memdb.ProcessType   `json:"type"`
	State     memdb.ProcessState  `json:"state"` // "" is not started yet
	Restarts  int                 `json:"restarts"`
	Isolation string              `json:"isolation,omitempty"` // of a program that runs or ran
	Strategy  string              `json:"strategy,omitempty"`  // of a supervisor
	Process   *memdb.Process      `json:"process,omitempty"`
	Details   *sandbox.Supervisor `json:"supervisor,omitempty"`
	Children  TreeNodes           `json:"children,omitempty"` // in the order of their start
}

// TreeNodes are what is below a supervisor.
type TreeNodes []TreeNode

// DescribeSchema implements op.Described.
func (TreeNodes) DescribeSchema() string { return "a process, of the same form as this one" }

// SupervisionTree is the tree of one sandbox.
type SupervisionTree struct {
	Sandbox string   `json:"sandbox"`
	Node    string   `json:"node"`
	Root    TreeNode `json:"root"`
}

// SupervisionTrees are those of all nodes, by node and sandbox.
type SupervisionTrees struct {
	Trees  []SupervisionTree `json:"trees"`
	Errors []op.NodeError    `json:"errors,omitempty"`
}

// SupervisorParams names a supervisor.
type SupervisorParams struct {
	PID string `json:"pid" op:"required" doc:"the supervisor's pid, as supervisor.list shows it"`
}

// ChildParams names a child of a supervisor.
type ChildParams struct {
	SupervisorParams
	Child string `json:"child" op:"required" doc:"the child's id"`
}

// StartChildParams is a child that a supervisor is to have.
type StartChildParams struct {
	SupervisorParams
	Child json.RawMessage `json:"child" op:"required" doc:"the child, of the form that the children of a spec have"`
}

// ChildList are the children of a supervisor, in the order of their start.
type ChildList struct {
	Children []sandbox.ChildInfo `json:"children"`
}

// Terminated is a child that was stopped, or was not running.
type Terminated struct {
	Child string `json:"child"`
}

func supervisorOps(d Deps) []*op.Op {
	pair := []string{"pid", "os_pid", "started", "isolation", "isolation_have", "isolation_missing", "restarts", "exit", "restarts_per_minute", "history"}
	childErrors := []errs.Kind{errs.NotFound, errs.Conflict}
	return []*op.Op{
		op.Define(op.Spec{
			Name: "supervisor.list", Summary: "List the supervisors of all nodes", Method: http.MethodGet, Path: "/supervisors",
			Command: "supervisor list", Effect: op.Read, Runs: op.Everywhere,
			Description: "With the restarts that each has decided: the newest ones with their causes, and how many there were in a minute.",
			Examples:    []op.Example{{Summary: "those of a sandbox", Params: `{"sandbox":"pair","include_children":true}`, Volatile: pair}},
		}, d.listSupervisors, op.Merge(mergeSupervisors)),
		op.Define(op.Spec{
			Name: "supervisor.tree", Summary: "Show the supervision trees of all nodes", Method: http.MethodGet, Path: "/cluster/supervision-trees",
			Command: "tree", Effect: op.Read, Runs: op.Everywhere,
			Examples: []op.Example{{Summary: "that of a sandbox", Params: `{"sandbox":"pair"}`, Volatile: pair}},
		}, d.supervisionTrees, op.Merge(mergeTrees)),
		op.Define(op.Spec{
			Name: "supervisor.which_children", Summary: "List the children of a supervisor", Method: http.MethodGet, Path: "/supervisors/:pid/children",
			Command: "supervisor which-children PID", Effect: op.Read, Runs: op.OnOwner, Errors: childErrors,
			Description: "Asks the supervisor itself, which answers when it is not busy with starting or stopping a child.",
			Examples:    []op.Example{{Summary: "those of a sandbox", Params: `{"pid":"${supervisor}"}`, Volatile: []string{"pid"}}},
		}, func(ctx context.Context, in SupervisorParams) (ChildList, error) {
			list, err := d.Sandboxes.WhichChildren(ctx, in.PID)
			return ChildList{list}, err
		}, op.Owner(supervisorOwner)),
		op.Define(op.Spec{
			Name: "supervisor.count_children", Summary: "Count the children of a supervisor", Method: http.MethodGet, Path: "/supervisors/:pid/count",
			Command: "supervisor count-children PID", Effect: op.Read, Runs: op.OnOwner, Errors: childErrors,
			Examples: []op.Example{{Summary: "those of a sandbox", Params: `{"pid":"${supervisor}"}`}},
		}, func(ctx context.Context, in SupervisorParams) (sandbox.Counts, error) {
			return d.Sandboxes.CountChildren(ctx, in.PID)
		}, op.Owner(supervisorOwner)),
		op.Define(op.Spec{
			Name: "supervisor.start_child", Summary: "Add a child to a supervisor and start it", Method: http.MethodPost, Path: "/supervisors/:pid/children",
			Command: "supervisor start-child PID CHILD", Effect: op.Write, Runs: op.OnOwner, Status: http.StatusCreated, Timeout: 15 * time.Second,
			Description: "It comes behind the other children. It lives as long as the supervisor: started again, that begins with the children of the spec. " +
				"A child that cannot be started is not added.",
			Errors: append([]errs.Kind{errs.BadSpec, errs.AlreadyExists}, childErrors...),
			Examples: []op.Example{{
				Summary: "one more", Params: `{"pid":"${supervisor}","child":{"id":"more","run":{"exec":["sleep","600"]}}}`, Volatile: append(pair, "child"),
			}},
		}, d.startChild, op.Owner(func(ctx context.Context, in StartChildParams) (string, error) {
			return supervisorOwner(ctx, in.SupervisorParams)
		})),
		op.Define(op.Spec{
			Name: "supervisor.terminate_child", Summary: "Stop a child and keep it", Method: http.MethodPost, Path: "/supervisors/:pid/children/:child/terminate",
			Command: "supervisor terminate-child PID CHILD", Effect: op.Destructive, Runs: op.OnOwner, Timeout: 30 * time.Second, Errors: childErrors,
			Description: "The answer comes when nothing of it is left. It can then be restarted or deleted; a temporary one is deleted at once.",
			Examples: []op.Example{
				{Summary: "one", Params: `{"pid":"${supervisor}","child":"a"}`},
				{Summary: "another", Params: `{"pid":"${supervisor}","child":"b"}`},
			},
		}, func(ctx context.Context, in ChildParams) (Terminated, error) {
			return Terminated{in.Child}, d.Sandboxes.TerminateChild(ctx, in.PID, in.Child, op.CallerFrom(ctx).String())
		}, op.Owner(childOwner)),
		op.Define(op.Spec{
			Name: "supervisor.restart_child", Summary: "Start a child that has ended or was terminated", Method: http.MethodPost, Path: "/supervisors/:pid/children/:child/restart",
			Command: "supervisor restart-child PID CHILD", Effect: op.Write, Runs: op.OnOwner, Timeout: 15 * time.Second,
			Description: "This counts as no restart.",
			Errors:      append([]errs.Kind{errs.BadSpec}, childErrors...),
			Examples:    []op.Example{{Summary: "one", Params: `{"pid":"${supervisor}","child":"b"}`, Volatile: pair}},
		}, func(ctx context.Context, in ChildParams) (memdb.Process, error) {
			row, err := d.Sandboxes.RestartChild(ctx, in.PID, in.Child)
			if err != nil {
				return row, err
			}
			return row, d.Acknowledged(ctx)
		}, op.Owner(childOwner)),
		op.Define(op.Spec{
			Name: "supervisor.delete_child", Summary: "Forget a child that has ended or was terminated", Method: http.MethodDelete, Path: "/supervisors/:pid/children/:child",
			Command: "supervisor delete-child PID CHILD", Effect: op.Destructive, Runs: op.OnOwner, Status: http.StatusNoContent, Errors: childErrors,
			Examples: []op.Example{{Summary: "one", Params: `{"pid":"${supervisor}","child":"a"}`}},
		}, func(ctx context.Context, in ChildParams) (*struct{}, error) {
			if err := d.Sandboxes.DeleteChild(ctx, in.PID, in.Child); err != nil {
				return nil, err
			}
			return nil, d.Acknowledged(ctx)
		}, op.Owner(childOwner)),
	}
}

func supervisorOwner(ctx context.Context, in SupervisorParams) (string, error) {
	return pidOwner(ctx, ProcessParams(in))
}

func childOwner(ctx context.Context, in ChildParams) (string, error) {
	return supervisorOwner(ctx, in.SupervisorParams)
}

func (d Deps) startChild(ctx context.Context, in StartChildParams) (memdb.Process, error) {
	child, err := sandbox.ParseChild(in.Child)
	if err != nil {
		return memdb.Process{}, err
	}
	row, err := d.Sandboxes.StartChild(ctx, in.PID, child)
	if err != nil {
		return row, err
	}
	return row, d.Acknowledged(ctx)
}

// listSupervisors is this node's share; the shares are merged.
func (d Deps) listSupervisors(_ context.Context, in SupervisorListParams) (SupervisorList, error) {
	list := SupervisorList{Supervisors: []SupervisorRow{}}
	var add func(n sandbox.Node)
	add = func(n sandbox.Node) {
		if n.Supervisor == nil || n.Process.PID == "" { // a program, or not started yet
			return
		}
		row := SupervisorRow{Process: n.Process, Supervisor: *n.Supervisor}
		for _, child := range n.Children {
			if in.Children {
				row.Children = append(row.Children, child.Process)
			}
		}
		list.Supervisors = append(list.Supervisors, row)
		for _, child := range n.Children {
			add(child)
		}
	}
	for _, root := range d.Sandboxes.Trees(in.Sandbox) {
		add(root)
	}
	return list, nil
}

func mergeSupervisors(parts []op.Part[SupervisorList]) SupervisorList {
	list := SupervisorList{Supervisors: []SupervisorRow{}, Errors: op.Failed(parts)}
	for _, p := range parts {
		list.Supervisors = append(list.Supervisors, p.Value.Supervisors...)
	}
	return list
}

// supervisionTrees is this node's share; the shares are merged.
func (d Deps) supervisionTrees(_ context.Context, in SupervisorTreeParams) (SupervisionTrees, error) {
	depth := in.MaxDepth
	if !in.Children {
		depth = 0
	}
	list := SupervisionTrees{Trees: []SupervisionTree{}}
	for _, root := range d.Sandboxes.Trees(in.Sandbox) {
		list.Trees = append(list.Trees, SupervisionTree{Sandbox: root.Process.Sandbox, Node: d.Self, Root: treeNode(root, depth, in.Details)})
	}
	return list, nil
}

func treeNode(n sandbox.Node, depth int, details bool) TreeNode {
	node := TreeNode{
		PID: n.Process.PID, Child: n.Process.Child, Type: n.Process.Type, State: n.Process.State, Restarts: n.Process.Restarts,
		Isolation: n.Process.Level,
	}
	if n.Supervisor != nil {
		node.Strategy = n.Supervisor.Strategy
	}
	if details {
		node.Process, node.Details = &n.Process, n.Supervisor
	}
	if depth == 0 {
		return node
	}
	for _, child := range n.Children {
		node.Children = append(node.Children, treeNode(child, depth-1, details))
	}
	return node
}

func mergeTrees(parts []op.Part[SupervisionTrees]) SupervisionTrees {
	list := SupervisionTrees{Trees: []SupervisionTree{}, Errors: op.Failed(parts)}
	for _, p := range parts {
		list.Trees = append(list.Trees, p.Value.Trees...)
	}
	return list
}
