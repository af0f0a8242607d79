package main

import (
	"fmt"
	"strings"

	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

func showTrees(v *view, l operations.SupervisionTrees) {
	if len(l.Trees) == 0 {
		v.linef("no sandboxes; `glassbox sandbox create FILE` starts one")
	}
	for _, tree := range l.Trees {
		v.linef("%s on %s  %s", tree.Sandbox, tree.Node, nodeText(v, tree.Root))
		v.branches(tree.Root.Children, "")
	}
	v.errors(l.Errors)
}

// branches draws what is below a supervisor, as tree(1) does.
func (v *view) branches(nodes []operations.TreeNode, indent string) {
	for i, n := range nodes {
		joint, below := "├─ ", "│  "
		if i == len(nodes)-1 {
			joint, below = "└─ ", "   "
		}
		id := n.Child[strings.LastIndexByte(n.Child, '/')+1:]
		v.linef("%s%s%s  %s", indent, joint, id, nodeText(v, n))
		v.branches(n.Children, indent+below)
	}
}

// nodeText is one process on a line.
func nodeText(v *view, n operations.TreeNode) string {
	text := "not started"
	if n.State != "" {
		text = string(n.State) + "  " + n.PID
	}
	if n.Strategy != "" {
		text = n.Strategy + "  " + text
	}
	if n.Isolation != "" {
		text += "  " + n.Isolation
	}
	if n.Restarts > 0 {
		text += "  restarted " + times(n.Restarts)
	}
	return text
}

func showSupervisors(v *view, l operations.SupervisorList) {
	if len(l.Supervisors) == 0 {
		v.linef("no supervisors; every sandbox has one")
	} else {
		t := newTable("PID", "NODE", "SANDBOX", "CHILD", "STATE", "STRATEGY", "ACTIVE", "RESTARTS/MIN", "LAST RESTART")
		for _, s := range l.Supervisors {
			last := ""
			if n := len(s.History); n > 0 {
				r := s.History[n-1]
				last = fmt.Sprintf("%s ago, %s: %s", v.ago(r.At), r.Child, r.Why)
			}
			t.add(s.PID, s.Node, s.Sandbox, s.Child, string(s.State), s.Strategy,
				fmt.Sprintf("%d of %d", s.Counts.Active, s.Counts.Specs), fmt.Sprintf("%.1f", s.RestartsPerMinute), last)
		}
		v.table(t)
	}
	v.errors(l.Errors)
}

func showChildren(v *view, l operations.ChildList) {
	if len(l.Children) == 0 {
		v.linef("no children; `glassbox supervisor start-child PID CHILD` adds one")
		return
	}
	t := newTable("ID", "STATE", "TYPE", "RESTART", "PID")
	for _, c := range l.Children {
		t.add(c.ID, string(c.State), string(c.Type), string(c.Restart), c.PID)
	}
	v.table(t)
}

func showCounts(v *view, c sandbox.Counts) {
	v.linef("%d children, %d active: %d supervisors, %d workers", c.Specs, c.Active, c.Supervisors, c.Workers)
}

func showChild(v *view, p memdb.Process) { v.linef("%s is %s as %s", p.Child, p.State, p.PID) }

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
