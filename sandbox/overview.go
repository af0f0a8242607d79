package sandbox

import (
	"slices"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// RateWindow is the time over which a supervisor's failure rate is taken.
const RateWindow = 5 * time.Minute

// Supervisor is what a node tells of a supervisor beside its process.
type Supervisor struct {
	Strategy    string `json:"strategy"`
	MaxRestarts int    `json:"max_restarts"`
	MaxSeconds  int    `json:"max_seconds"`
	Counts      Counts `json:"counts"`
	// RestartsPerMinute is the failure rate: how many restarts a minute it has
	// decided, over the last [RateWindow].
	RestartsPerMinute float64         `json:"restarts_per_minute"`
	History           []RestartRecord `json:"history,omitempty"` // the newest restarts, oldest first
}

// RestartRecord is one restart that a supervisor decided.
type RestartRecord struct {
	At     time.Time         `json:"at"`
	Child  string            `json:"child"` // whose end was the cause
	Reason supervisor.Reason `json:"reason"`
	Why    string            `json:"why"`
}

// Node is a process in a supervision tree, and what is below it.
type Node struct {
	Process    memdb.Process `json:"process"`
	Supervisor *Supervisor   `json:"supervisor,omitempty"` // nil for a program
	Children   Nodes         `json:"children,omitempty"`   // in the order of their start
}

// Nodes are the processes below a supervisor.
type Nodes []Node

// DescribeSchema implements op.Described.
func (Nodes) DescribeSchema() string { return "a process, of the same form as this one" }

// Trees returns the supervision trees of this node, sorted by sandbox; of one
// sandbox only, if it is not "".
func (m *Manager) Trees(sandbox string) []Node {
	m.mu.Lock()
	var trees []*tree
	for id, t := range m.trees {
		if sandbox == "" || sandbox == id {
			trees = append(trees, t)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(trees, func(a, b *tree) int { return strings.Compare(a.spec.ID, b.spec.ID) })
	nodes := make([]Node, 0, len(trees))
	for _, t := range trees {
		nodes = append(nodes, t.root.node(m.now()))
	}
	return nodes
}

func (s *slot) node(time.Time) Node { return Node{Process: s.current()} }

func (b *branch) node(now time.Time) Node {
	n := Node{Process: b.current(), Supervisor: &Supervisor{
		Strategy: b.spec.Strategy, MaxRestarts: *b.spec.MaxRestarts, MaxSeconds: *b.spec.MaxSeconds,
	}}
	if sup, err := b.supervisor(); err == nil {
		history := sup.History()
		n.Supervisor.RestartsPerMinute = history.Rate(now, RateWindow)
		for _, r := range history {
			n.Supervisor.History = append(n.Supervisor.History, RestartRecord{At: r.At, Child: r.Child, Reason: r.Reason, Why: brief(r.Why)})
		}
	}
	for _, m := range b.shown() {
		child := m.node(now)
		n.Children = append(n.Children, child)
		n.Supervisor.Counts.add(child.Process)
	}
	return n
}

// add counts a child by its row, without asking the supervisor, which may be busy.
func (c *Counts) add(row memdb.Process) {
	c.Specs++
	if row.PID != "" && !row.Ended() {
		c.Active++
	}
	if row.Type == memdb.Supervisor {
		c.Supervisors++
	} else {
		c.Workers++
	}
}
