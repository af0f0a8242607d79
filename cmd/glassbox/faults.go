package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/cluster/fault"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

func showFaults(v *view, l operations.FaultList) {
	switch {
	case !l.Allowed:
		v.linef("this node allows none; start it with --allow-faults")
		return
	case len(l.Faults) == 0:
		v.linef("no faults")
		return
	}
	t := newTable("ID", "KIND", "PEER", "DIRECTION", "DELAY", "LEFT")
	for _, r := range l.Faults {
		t.add(r.ID, string(r.Kind), r.Peer, string(r.Direction), delay(r), v.left(r))
	}
	v.table(t)
}

// faultLine is all faults in short.
func (v *view) faultLine(rules []fault.Rule) string {
	texts := make([]string, len(rules))
	for i, r := range rules {
		texts[i] = fmt.Sprintf("%s, %s left", faultText(r), v.left(r))
	}
	return strings.Join(texts, "; ")
}

func showFault(v *view, r fault.Rule) {
	v.linef("%s, for %s", faultText(r), short(r.Until.Sub(r.Since)))
}

func showHealed(v *view, h operations.Healed) {
	if len(h.Healed) == 0 {
		v.linef("no faults to heal")
		return
	}
	texts := make([]string, len(h.Healed))
	for i, r := range h.Healed {
		texts[i] = faultText(r)
	}
	v.linef("healed %s", strings.Join(texts, "; "))
}

func showDropped(v *view, d operations.Dropped) {
	if d.Connections == 1 {
		v.linef("closed 1 connection")
		return
	}
	v.linef("closed %d connections", d.Connections)
}

// faultText is a fault as its node sees it, such as "f1: delay of the link to
// n2 by 20ms (in)".
func faultText(r fault.Rule) string {
	by := ""
	if r.DelayMS > 0 {
		by = " by " + delay(r)
	}
	return fmt.Sprintf("%s: %s of the link to %s%s (%s)", r.ID, r.Kind, r.Peer, by, r.Direction)
}

func delay(r fault.Rule) string {
	if r.DelayMS == 0 {
		return ""
	}
	return (time.Duration(r.DelayMS) * time.Millisecond).String()
}

// left is how long a fault is still in force.
func (v *view) left(r fault.Rule) string { return short(r.Until.Sub(v.now)) }
