package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// views show the result of an operation to people. One that has none is shown
// as JSON.
var views = map[string]func(v *view, raw json.RawMessage) error{
	"cluster.status":  shown(showStatus),
	"cluster.health":  shown(showHealth),
	"node.info":       shown(showNode),
	"node.ping":       shown(func(v *view, r operations.Pong) { v.linef("%s answers", r.Node) }),
	"node.leave":      shown(func(v *view, r operations.Leaving) { v.linef("%s leaves", r.Node) }),
	"process.list":    shown(showProcesses),
	"process.info":    shown(showProcess),
	"process.signal":  shown(func(v *view, r operations.Signaled) { v.linef("sent to %s", r.PID) }),
	"process.kill":    shown(func(v *view, r operations.Killed) { v.linef("killed %s", r.PID) }),
	"process.logs":    shown(showLogs),
	"sandbox.list":    shown(showSandboxes),
	"sandbox.info":    shown(showSandbox),
	"sandbox.create":  shown(func(v *view, r memdb.Sandbox) { v.linef("%s is %s on %s", r.ID, r.Status, r.Node); v.why(r.Why) }),
	"sandbox.restart": shown(func(v *view, r memdb.Sandbox) { v.linef("%s is %s on %s", r.ID, r.Status, r.Node); v.why(r.Why) }),
	"sandbox.destroy": shown(showDestroyed),
	"event.list":      shown(showEvents),

	"supervisor.list":            shown(showSupervisors),
	"supervisor.tree":            shown(showTrees),
	"supervisor.which_children":  shown(showChildren),
	"supervisor.count_children":  shown(showCounts),
	"supervisor.start_child":     shown(showChild),
	"supervisor.restart_child":   shown(showChild),
	"supervisor.terminate_child": shown(func(v *view, r operations.Terminated) { v.linef("terminated %s", r.Child) }),
	"supervisor.delete_child":    shown(func(v *view, _ json.RawMessage) { v.linef("deleted") }),

	"pubsub.publish": shown(showPublished),
	"fault.cut":      shown(showFault),
	"fault.delay":    shown(showFault),
	"fault.drop":     shown(showDropped),
	"fault.heal":     shown(showHealed),
	"fault.list":     shown(showFaults),

	"registry.register":   shown(showRegistered),
	"registry.lookup":     shown(showName),
	"registry.unregister": shown(func(v *view, _ json.RawMessage) { v.linef("unregistered") }),
	"registry.list":       shown(showNames),
}

// view writes for people, and remembers the first error of writing.
type view struct {
	out     io.Writer
	color   bool
	columns int // lines of a table are cut to; 0 cuts none
	now     time.Time
	err     error
}

// shown makes a view of a function on the result's own type.
func shown[T any](show func(v *view, result T)) func(*view, json.RawMessage) error {
	return func(v *view, raw json.RawMessage) error {
		var result T
		if err := json.Unmarshal(raw, &result); err != nil {
			return errs.Wrap(errs.Internal, err, "the answer is not what was expected; this command and the node may be of different versions")
		}
		show(v, result)
		return v.err
	}
}

// show writes the result of an operation as the user wants it.
func (a *app) show(method string, result json.RawMessage) error {
	if view := views[method]; view != nil && a.output != "json" {
		return view(a.view(), result)
	}
	return writeJSON(a.out, result)
}

func (a *app) view() *view {
	return &view{out: a.out, color: a.color, columns: a.cutTo(), now: time.Now()}
}

// cutTo is the width that lines are cut to: the terminal's, as it is now. What
// goes into a file or a pipe is never cut, nor what is asked for with --wide.
func (a *app) cutTo() int {
	if a.columns == nil || a.client.wide {
		return 0
	}
	return a.columns()
}

func writeJSON(w io.Writer, raw json.RawMessage) error {
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, indented.String())
	return err
}

func (v *view) linef(format string, args ...any) {
	if v.err == nil {
		_, v.err = fmt.Fprintln(v.out, printable(fmt.Sprintf(format, args...)))
	}
}

// why writes the reason of a state, if there is one.
func (v *view) why(text string) {
	if text != "" {
		v.linef("  why: %s", text)
	}
}

func (v *view) table(t *table) {
	if v.err == nil {
		v.err = t.write(v.out, v.color, v.columns)
	}
}

// errors tells which nodes did not answer.
func (v *view) errors(all []op.NodeError) {
	for _, e := range all {
		v.linef("%s did not answer: %s", e.Node, e.Message)
	}
}

// word is one word, coloured if it tells well from unwell.
func (v *view) word(text string) string {
	if v.color {
		return paint(printable(text))
	}
	return printable(text)
}

// ago is how long ago a time was, in the largest unit that says enough.
func (v *view) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return short(v.now.Sub(t))
}

func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func micros(us int64) string {
	switch {
	case us == 0:
		return ""
	case us < 1000:
		return fmt.Sprintf("%d µs", us)
	default:
		return fmt.Sprintf("%.1f ms", float64(us)/1000)
	}
}

func megabytes(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func showStatus(v *view, s operations.ClusterStatus) {
	ready := ""
	if !s.Ready {
		ready = ", not ready: " + strings.Join(s.WaitsFor, "; ")
	}
	if v.err == nil {
		_, v.err = fmt.Fprintf(v.out, "cluster %s seen by %s: %s, %d of %d nodes alive%s\n",
			printable(s.Cluster), printable(s.Node), v.word(s.Partition), s.Alive, s.Configured, printable(ready))
	}
	if len(s.Faults) > 0 {
		v.linef("%s breaks links on purpose: %s", s.Node, v.faultLine(s.Faults))
	}
	v.linef("")
	t := newTable("NODE", "STATE", "REACH", "RTT", "SINCE", "ADDR", "WHY")
	for _, m := range s.Nodes {
		name := m.Name
		if m.Self {
			name += " *"
		}
		t.add(name, string(m.State), string(m.Reach), micros(m.RTTUS), v.ago(m.Since), m.Addr, m.Why)
	}
	v.table(t)
}

func showHealth(v *view, h operations.ClusterHealth) {
	verdict := "unwell"
	if h.Healthy {
		verdict = "healthy"
	}
	if v.err == nil {
		_, v.err = fmt.Fprintf(v.out, "%s, %s\n", v.word(verdict), v.word(h.Partition))
	}
	t := newTable("SEEN BY", "SEVERITY", "CAUSE", "SUBJECT", "SINCE", "MESSAGE")
	for _, n := range h.Nodes {
		for _, c := range n.Causes {
			t.add(n.Node, string(c.Severity), c.Kind, c.Subject, v.ago(c.Since), c.Message)
		}
	}
	if len(t.rows) > 0 {
		v.linef("")
		v.table(t)
	}
	v.errors(h.Errors)
	for _, n := range h.Nodes {
		for _, line := range n.History {
			v.linef("%s saw %s", n.Node, line)
		}
	}
}

func showNode(v *view, n operations.NodeInfo) {
	t := newTable("NODE", n.Name)
	t.add("http", n.HTTP)
	t.add("rpc", n.RPC)
	t.add("version", n.Version)
	t.add("os pid", fmt.Sprint(n.OSPID))
	t.add("up", short(time.Duration(n.UptimeS*float64(time.Second))))
	t.add("ready", fmt.Sprint(n.Ready))
	if len(n.WaitsFor) > 0 {
		t.add("waits for", strings.Join(n.WaitsFor, "; "))
	}
	m := n.Metrics
	t.add("sandboxes", fmt.Sprint(n.Sandboxes))
	t.add("memory", megabytes(m.RSSBytes)+", heap "+megabytes(m.HeapBytes))
	t.add("guardian", megabytes(m.GuardianRSSBytes))
	t.add("isolation", n.Isolation.Level)
	for _, lack := range n.Isolation.Missing {
		t.add("  without", string(lack.Name)+": "+lack.Why)
	}
	t.add("goroutines", fmt.Sprint(m.Goroutines))
	t.add("open files", fmt.Sprint(m.OpenFiles))
	t.add("cpu", fmt.Sprintf("%.1f s", m.CPUSeconds))
	t.add("rows", fmt.Sprint(m.Rows))
	t.add("events", fmt.Sprint(m.Events))
	for _, l := range m.Links {
		t.add("link "+l.Node, fmt.Sprintf("round trip %s, %d bytes queued, %d calls pending, %d changes behind", micros(l.RTTUS), l.QueuedBytes, l.Pending, l.Behind))
	}
	v.table(t)
	if len(n.Processes) > 0 {
		v.linef("")
		v.processes(n.Processes)
	}
}

func showProcesses(v *view, l operations.ProcessList) {
	if len(l.Processes) == 0 {
		v.linef("no processes; `glassbox sandbox create FILE` starts some")
		return
	}
	v.processes(l.Processes)
}

// processes has a column of names only if there are any.
func (v *view) processes(rows []operations.Process) {
	head := []string{"PID", "NODE", "SANDBOX", "CHILD", "TYPE", "STATE", "OS PID", "RESTARTS", "AGE", "ISOLATION"}
	named := slices.ContainsFunc(rows, func(p operations.Process) bool { return len(p.Names) > 0 })
	if named {
		head = append(head, "NAME")
	}
	t := newTable(head...)
	for _, p := range rows {
		cells := []string{p.PID, p.Node, p.Sandbox, p.Child, string(p.Type), string(p.State), osPID(p.OSPID), fmt.Sprint(p.Restarts), v.ago(p.Started), confined(p)}
		if named {
			cells = append(cells, strings.Join(p.Names, ", "))
		}
		t.add(cells...)
	}
	v.table(t)
}

// confined is the level at which a program runs; a supervisor is none.
func confined(p operations.Process) string {
	if p.Type == memdb.Supervisor {
		return ""
	}
	return p.Level
}

func osPID(pid int) string {
	if pid == 0 {
		return ""
	}
	return fmt.Sprint(pid)
}

func showProcess(v *view, p operations.ProcessInfo) {
	t := newTable("PID", p.PID)
	if len(p.Names) > 0 {
		t.add("name", strings.Join(p.Names, ", "))
	}
	t.add("node", p.Node)
	t.add("sandbox", p.Sandbox)
	t.add("child", p.Child)
	t.add("type", string(p.Type))
	t.add("state", string(p.State))
	t.add("os pid", osPID(p.OSPID))
	t.add("started", p.Started.Format(time.RFC3339))
	t.add("restarts", fmt.Sprint(p.Restarts))
	t.add("isolation", p.Level)
	if len(p.Have) > 0 {
		t.add("held by", strings.Join(p.Have, ", "))
	}
	if len(p.Missing) > 0 {
		t.add("not held by", strings.Join(p.Missing, ", "))
	}
	if p.Exit != nil {
		t.add("last exit", exitText(p.Exit))
	}
	if p.Stats != nil {
		addStats(t, *p.Stats)
	}
	if p.Output != nil {
		t.add("output", fmt.Sprintf("%d lines, %d no longer kept", p.Output.Lines, p.Output.Dropped))
	}
	v.table(t)
}

// addStats adds what a tree of processes uses.
func addStats(t *table, s sandbox.Stats) {
	t.add("up", short(time.Duration(s.UptimeMS)*time.Millisecond))
	t.add("memory", megabytes(s.RSSBytes))
	t.add("cpu", fmt.Sprintf("%.2f s", float64(s.CPUMS)/1000))
	t.add("holds", fmt.Sprintf("%d processes, %d threads, %d open files", s.Processes, s.Threads, s.Files))
	if m := s.Messages; m != nil {
		t.add("messages", fmt.Sprintf("%d calls, %d not answered yet, %d answered late", m.Calls, m.InFlight, m.Late))
	}
}

func exitText(e *memdb.Exit) string {
	switch e.Cause {
	case memdb.CauseExited:
		return fmt.Sprintf("exited with %d", e.Code)
	case memdb.CauseSignaled:
		return "ended by " + e.Signal
	case memdb.CauseKilled:
		return "killed by " + e.By
	case memdb.CauseStartFailed:
		return "not started: " + e.Detail
	case memdb.CauseOOM, memdb.CauseTimeout, memdb.CauseOutputLimit, memdb.CauseStuck:
		return string(e.Cause) + ": " + e.Detail
	default:
		return string(e.Cause)
	}
}

func showLogs(v *view, l operations.ProcessLogs) {
	if l.Missed > 0 {
		v.linef("(%d earlier lines are no longer kept)", l.Missed)
	}
	for _, entry := range l.Entries {
		v.entry(entry)
	}
}

// entry is one line as the program wrote it, but for what could drive the
// terminal; Glassbox's own are marked.
func (v *view) entry(e sandbox.LogEntry) {
	if e.Stream == sandbox.System {
		v.linef("-- %s %s", e.Time.Format(time.TimeOnly), e.Line)
		return
	}
	v.linef("%s", e.Line)
}

func showSandboxes(v *view, l operations.SandboxList) {
	if len(l.Sandboxes) == 0 {
		v.linef("no sandboxes; `glassbox sandbox create FILE` starts one")
		return
	}
	t := newTable("SANDBOX", "NODE", "STATUS", "AGE", "LABELS", "WHY")
	for _, s := range l.Sandboxes {
		t.add(s.ID, s.Node, string(s.Status), v.ago(s.Created), labels(s.Labels), s.Why)
	}
	v.table(t)
}

func labels(all map[string]string) string {
	return peers(all).String() // name=value, sorted
}

func showSandbox(v *view, s operations.SandboxInfo) {
	t := newTable("SANDBOX", "NODE", "STATUS", "AGE", "LABELS")
	row := s.Sandbox
	t.add(row.ID, row.Node, string(row.Status), v.ago(row.Created), labels(row.Labels))
	v.table(t)
	v.why(row.Why) // on a line of its own, where nothing is cut off
	if s.Stats != nil {
		v.linef("")
		t = newTable("ALL TOGETHER", "")
		addStats(t, *s.Stats)
		v.table(t)
	}
	if len(s.Processes) > 0 {
		v.linef("")
		rows := make([]operations.Process, len(s.Processes))
		for i, p := range s.Processes {
			rows[i].Process = p
		}
		v.processes(rows)
	}
	if len(s.History) == 0 {
		return
	}
	v.linef("")
	t = newTable("ENDED", "CHILD", "LIVED", "HOW")
	for _, p := range s.History {
		if p.Exit != nil {
			t.add(p.PID, p.Child, short(p.Exit.At.Sub(p.Started)), exitText(p.Exit))
		}
	}
	v.table(t)
}

func showEvents(v *view, l operations.EventList) {
	if len(l.Events) == 0 {
		v.linef("no events")
	}
	for _, e := range l.Events {
		v.event(e)
	}
}

// event is one line; columns are wide enough for most, so that lines that come
// one by one are aligned too. Of a message it shows what it says.
func (v *view) event(e event.Event) {
	begin := fmt.Sprintf("%s  %-4s  ", e.Time.Local().Format("15:04:05.000"), printable(e.Node))
	kind := printable(e.Type)
	space := strings.Repeat(" ", max(0, 16-utf8.RuneCountInString(kind)))
	text := e.Why
	if e.Type == event.Message {
		text = string(e.Data)
	}
	rest := strings.TrimRight(fmt.Sprintf("%s  %s  %s", space, printable(e.Subject), printable(text)), " ")
	if v.columns > 0 {
		rest = cut(rest, max(v.columns-utf8.RuneCountInString(begin+kind), minLast))
	}
	if v.err == nil {
		_, v.err = fmt.Fprintln(v.out, begin+v.word(kind)+rest)
	}
}

// showItem writes one item of a followed operation.
func (a *app) showItem(method string, item json.RawMessage) error {
	if a.output == "json" {
		_, err := fmt.Fprintln(a.out, string(item))
		return err
	}
	v := a.view()
	switch method {
	case "event.list":
		return shown(func(v *view, e event.Event) { v.event(e) })(v, item)
	case "process.logs":
		return shown(func(v *view, e sandbox.LogEntry) { v.entry(e) })(v, item)
	default:
		return writeJSON(a.out, item)
	}
}

func showDestroyed(v *view, r *operations.SandboxDestroyed) {
	v.linef("destroyed")
	if r != nil {
		v.linef("not reached, and told of it when they are back: %s", strings.Join(r.Pending, ", "))
	}
}
