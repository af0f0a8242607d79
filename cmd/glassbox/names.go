package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/glassbox-dev/glassbox/internal/operations"
)

func showRegistered(v *view, r operations.Registered) {
	switch {
	case r.Created:
		v.linef("registered %s, held by %s", r.Name, holderText(r.Holder))
	case r.Replaced:
		v.linef("%s has another value now, held by %s", r.Name, holderText(r.Holder))
	default:
		v.linef("%s was registered already, held by %s", r.Name, holderText(r.Holder))
	}
}

func holderText(h operations.Holder) string {
	if h.PID == "" {
		return "node " + h.Node
	}
	return fmt.Sprintf("process %s on %s", h.PID, h.Node)
}

func showName(v *view, n operations.HeldName) {
	t := newTable("NAME", n.Name)
	t.add("node", n.Holder.Node)
	t.add("pid", n.Holder.PID)
	t.add("value", oneLineJSON(n.Value))
	t.add("epoch", fmt.Sprint(n.Epoch))
	t.add("registered", n.Registered.Format(time.RFC3339))
	v.table(t)
}

func showNames(v *view, l operations.NameList) {
	if len(l.Names) == 0 {
		v.linef("no names; `glassbox registry register NAME` registers one")
		return
	}
	t := newTable("NAME", "NODE", "PID", "AGE", "VALUE")
	for _, n := range l.Names {
		t.add(n.Name, n.Holder.Node, n.Holder.PID, v.ago(n.Registered), oneLineJSON(n.Value))
	}
	v.table(t)
}

// oneLineJSON is a value on one line; none is empty.
func oneLineJSON(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil || b.String() == "null" {
		return ""
	}
	return b.String()
}
