package operations

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// ProcessListParams filters the list of processes.
type ProcessListParams struct {
	Node    string `json:"node" doc:"only those of this node"`
	Sandbox string `json:"sandbox" doc:"only those of this sandbox"`
	State   string `json:"state" enum:"starting,running,stopping,exited,failed" doc:"only those in this state"`
	Type    string `json:"type" enum:"worker,supervisor" doc:"only those of this type"`
	Name    string `json:"name" doc:"only the one that holds this name"`
	Sort    string `json:"sort" enum:"node,sandbox,started" default:"node" doc:"order of the list"`
	Details bool   `json:"include_details" doc:"ask the nodes what each process uses now"`
	pageParams
}

// ProcessList is a page of processes.
type ProcessList struct {
	Processes []Process      `json:"processes"`
	Next      string         `json:"next,omitempty"`
	Errors    []op.NodeError `json:"errors,omitempty"` // of nodes that did not tell details
}

// Process is a process and the names that it holds.
type Process struct {
	memdb.Process          // its name is the first of them
	Names         []string `json:"names,omitempty"` // all of them, sorted
	// Stats are there while a worker runs, where they were asked for.
	Stats *sandbox.Stats `json:"stats,omitempty"`
}

// ProcessParams names a process.
type ProcessParams struct {
	PID string `json:"pid" op:"required" doc:"the process's pid, as process.list shows it"`
}

// ProcessInfoParams says what to tell of a process.
type ProcessInfoParams struct {
	ProcessParams
	Keys []string `json:"keys" doc:"only these members of the answer; all if left out"`
}

// ProcessKillParams says which process to end, and how.
type ProcessKillParams struct {
	ProcessParams
	Reason string `json:"reason" enum:"kill,shutdown" default:"kill" doc:"kill ends it at once; shutdown lets it end by itself within its shutdown time"`
	Force  bool   `json:"force" doc:"give a shutdown no time"`
}

// Killed is a process that was ended. Its supervisor decides whether its slot
// runs again.
type Killed struct {
	PID string `json:"pid"`
}

// ProcessLogsParams says which lines of a process to read.
type ProcessLogsParams struct {
	ProcessParams
	After  uint64 `json:"after" doc:"go on behind the line with this number"`
	Limit  int    `json:"limit" default:"1000" min:"1" max:"4096" doc:"at most this many lines"`
	Stream string `json:"stream" enum:"stdout,stderr,system" doc:"only this stream"`
	Follow bool   `json:"follow" doc:"over REST: go on as an event stream"`
	WaitMS int64  `json:"wait_ms" min:"0" max:"20000" doc:"wait so long for the first line"`
}

// ProcessLogs is what a process, and its predecessors in the slot, printed.
type ProcessLogs struct {
	// PID is the process the slot has now: who goes on reading asks for that.
	PID     string             `json:"pid"`
	Entries []sandbox.LogEntry `json:"entries"`
	Next    uint64             `json:"next"`             // go on after this one
	Missed  uint64             `json:"missed,omitempty"` // lines no longer kept
	End     bool               `json:"end,omitempty"`    // nothing more can come
}

func processOps(d Deps) []*op.Op {
	return []*op.Op{
		op.Define(op.Spec{
			Name: "process.list", Summary: "List the processes of all nodes", Method: http.MethodGet, Path: "/cluster/processes",
			Command: "ps", Effect: op.Read, Runs: op.Anywhere,
			Description: "Answered from the rows that every node replicates to all others; with `include_details` the nodes are asked what each process " +
				"uses, and `errors` names those that did not answer. Processes of dead nodes are gone, and not listed.",
			Examples: []op.Example{
				{Summary: "those of a sandbox", Params: `{"sandbox":"pair"}`, Volatile: []string{"pid", "os_pid", "started"}},
				{Summary: "the one with a name", Params: `{"name":"shop/printer"}`, Volatile: []string{"pid", "os_pid", "started"}},
			},
		}, d.listProcesses),
		op.Define(op.Spec{
			Name: "process.info", Summary: "Show a process", Method: http.MethodGet, Path: "/processes/:pid/info",
			Command: "info PID", Effect: op.Read, Runs: op.OnOwner, Errors: []errs.Kind{errs.NotFound},
			Examples: []op.Example{{Summary: "one", Params: `{"pid":"${pid}"}`, Volatile: []string{"pid", "os_pid", "started", "stats", "output"}}},
		}, func(_ context.Context, in ProcessInfoParams) (ProcessInfo, error) {
			info, err := d.processInfo(in.PID)
			info.keys = in.Keys
			return info, err
		}, op.Owner(func(ctx context.Context, in ProcessInfoParams) (string, error) {
			return pidOwner(ctx, in.ProcessParams)
		})),
		op.Define(op.Spec{
			Name: "process.kill", Summary: "End a process and all it started", Method: http.MethodDelete, Path: "/processes/:pid",
			Command: "kill PID", Effect: op.Destructive, Runs: op.OnOwner, Timeout: 15 * time.Second,
			Description: "The answer comes when nothing of it is left. Its supervisor restarts it by its rules, under a new pid.",
			Errors:      []errs.Kind{errs.NotFound, errs.Conflict},
			Examples:    []op.Example{{Summary: "at once", Params: `{"pid":"${pid}"}`, Volatile: []string{"pid"}}},
		}, func(ctx context.Context, in ProcessKillParams) (Killed, error) {
			by := op.CallerFrom(ctx).String()
			return Killed{in.PID}, d.Sandboxes.Kill(ctx, in.PID, sandbox.Reason(in.Reason), in.Force, by)
		}, op.Owner(func(ctx context.Context, in ProcessKillParams) (string, error) {
			return pidOwner(ctx, in.ProcessParams)
		})),
		op.Define(op.Spec{
			Name: "process.logs", Summary: "Read what a process printed", Method: http.MethodGet, Path: "/processes/:pid/logs",
			Command: "logs PID", Effect: op.Read, Runs: op.OnOwner,
			Description: "The lines of the process and of its predecessors in the same slot, each with its pid. Only the newest are " +
				"kept; `missed` counts those that are gone.",
			Errors:   []errs.Kind{errs.NotFound, errs.Conflict},
			Examples: []op.Example{{Summary: "the system's lines", Params: `{"pid":"${pid}","stream":"system","limit":1}`, Volatile: []string{"pid", "line", "time"}}},
		}, d.readLogs, op.Owner(func(ctx context.Context, in ProcessLogsParams) (string, error) {
			return pidOwner(ctx, in.ProcessParams)
		}),
			op.Followed("entries", "seq")),
		d.messageOp(),
		d.signalOp(),
	}
}

// ProcessInfo is what the node that runs a process knows of it.
type ProcessInfo struct {
	Process // with Stats
	// Output is what was printed in the slot, which a supervisor has none of.
	Output *sandbox.OutputCounts `json:"output,omitempty"`

	keys []string // the members that are asked for; nil is all
}

// MarshalJSON leaves out what was not asked for.
func (p ProcessInfo) MarshalJSON() ([]byte, error) {
	type all ProcessInfo
	raw, err := jsontext.Marshal(all(p))
	if err != nil || p.keys == nil {
		return raw, err
	}
	wanted := map[string]json.RawMessage{}
	jsontext.EachMember(raw, func(key, value []byte) {
		if name := jsontext.Unquote(key); slices.Contains(p.keys, name) {
			wanted[name] = value
		}
	})
	return jsontext.Marshal(wanted)
}

func (d Deps) processInfo(pid string) (ProcessInfo, error) {
	row, err := d.Sandboxes.Process(pid)
	if err != nil {
		return ProcessInfo{}, err
	}
	info := ProcessInfo{Process: d.named([]memdb.Process{row})[0]}
	if row.Type == memdb.Supervisor {
		return info, nil
	}
	if output, err := d.Sandboxes.Output(pid); err == nil {
		info.Output = &output
	}
	stats, err := d.Sandboxes.Stats(pid)
	switch errs.KindOf(err) {
	case "":
		info.Stats = &stats
	case errs.NotFound, errs.Conflict: // it does not run
	default:
		return ProcessInfo{}, err
	}
	return info, nil
}

// pidOwner reads the node off a pid.
func pidOwner(_ context.Context, in ProcessParams) (string, error) {
	node, ok := sandbox.NodeOfPID(in.PID)
	if !ok {
		return "", errs.New(errs.NotFound, "%q is no pid; process.list shows which there are", in.PID)
	}
	return node, nil
}

// processKeys are the orders of the list. The keys are unique, so that paging by
// them loses nothing.
var processKeys = map[string]func(memdb.Process) string{
	"node":    func(row memdb.Process) string { return key(row.Node, row.Sandbox, row.Child, row.PID) },
	"sandbox": func(row memdb.Process) string { return key(row.Sandbox, row.Child, row.PID) },
	"started": func(row memdb.Process) string { return key(row.Started.UTC().Format(sortableTime), row.PID) },
}

// sortableTime has all digits of a time, so that texts sort as times do.
const sortableTime = "2006-01-02T15:04:05.000000000"

func key(parts ...string) string { return strings.Join(parts, "\x00") }

func (d Deps) listProcesses(ctx context.Context, in ProcessListParams) (ProcessList, error) {
	if err := d.knownNode(in.Node); err != nil {
		return ProcessList{}, err
	}
	view, holder := d.DB.View(), memdb.Claimed{}
	if in.Name != "" {
		holder, _ = view.Holder(in.Name)
	}
	rows := keep(view.Processes(), func(row memdb.Process) bool {
		return (in.Node == "" || in.Node == row.Node) && (in.Sandbox == "" || in.Sandbox == row.Sandbox) &&
			(in.Name == "" || holder.Confirmed && holds(holder.Claim, row)) &&
			(in.State == "" || in.State == string(row.State)) && (in.Type == "" || in.Type == string(row.Type))
	})
	order := processKeys[in.Sort]
	sortBy(rows, order)
	items, next := page(rows, order, in.pageParams)
	list := ProcessList{Processes: d.named(items), Next: next}
	if in.Details {
		list.Errors = d.detail(ctx, list.Processes)
	}
	return list, nil
}

// holds reports whether a process, or the slot that it is in, has a claim.
func holds(c memdb.Claim, p memdb.Process) bool {
	if c.Child == "" {
		return c.PID == p.PID
	}
	return c.Node == p.Node && c.Sandbox == p.Sandbox && c.Child == p.Child && !p.Ended()
}

// knownNode says of a node that it is none; "" is not asked for.
func (d Deps) knownNode(name string) error {
	isNode := func(m cluster.Member) bool { return m.Name == name }
	if name != "" && !slices.ContainsFunc(d.Members(), isNode) {
		return errs.New(errs.NotFound, "no node %q in this cluster; cluster.status lists them", name)
	}
	return nil
}

// named adds the names that processes hold. Claims have no index by pid, which
// would take memory for each: all names are looked through once.
func (d Deps) named(rows []memdb.Process) []Process {
	list, index := make([]Process, len(rows)), make(map[string]int, len(rows))
	slots := map[[3]string]int{}
	for i, row := range rows {
		list[i].Process, index[row.PID] = row, i
		if !row.Ended() && row.Child != "" {
			slots[[3]string{row.Node, row.Sandbox, row.Child}] = i
		}
	}
	if len(rows) == 0 {
		return list
	}
	for claim := range d.DB.View().Holders("", "") {
		i, ok := index[claim.PID]
		if claim.Child != "" {
			i, ok = slots[[3]string{claim.Node, claim.Sandbox, claim.Child}]
		}
		if ok && claim.Confirmed {
			list[i].Names = append(list[i].Names, claim.Name)
			list[i].Name = list[i].Names[0]
		}
	}
	return list
}

func (d Deps) readLogs(ctx context.Context, in ProcessLogsParams) (ProcessLogs, error) {
	log, current, err := d.Sandboxes.Logs(in.PID)
	if err != nil {
		return ProcessLogs{}, err
	}
	if in.WaitMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(in.WaitMS)*time.Millisecond)
		defer cancel()
	}
	logs := ProcessLogs{PID: current, Entries: []sandbox.LogEntry{}}
	entries, next, missed, err := log.Read(ctx, in.After, in.Limit, in.WaitMS > 0)
	if err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
		return logs, err
	}
	logs.Next, logs.Missed, logs.End = next, missed, log.Ended(next)
	for _, entry := range entries {
		if in.Stream == "" || in.Stream == string(entry.Stream) {
			logs.Entries = append(logs.Entries, entry)
		}
	}
	return logs, nil
}
