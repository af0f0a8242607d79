package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// holding is the state of a name: who holds it. The zero value is nobody.
type holding struct {
	node  string
	pid   string
	stamp uint64
	value string
}

func holdingOf(c memdb.Claim) holding { return holding{c.Node, c.PID, c.Stamp, string(c.Value)} }

// linearizable says why the answers about one name fit no order of operations,
// "" if they do. Lookups that ask nobody promise less, and are left out.
func linearizable(entries []*Entry, before memdb.Claim) string {
	var ops []porcupine.Operation
	var last int64
	for _, e := range entries {
		last = max(last, e.Return, e.Call)
	}
	for i, e := range entries {
		if e.Kind == Lookup || e.Return == 0 || e.Err != nil && errs.From(e.Err).Sure { // which did nothing
			continue
		}
		returned := e.Return
		if e.Kind == End || e.unsure() { // what follows from it may come later, or never
			returned = last + 1
		}
		ops = append(ops, porcupine.Operation{ClientId: i, Input: e, Call: e.Call, Output: e, Return: returned})
	}
	for _, e := range entries {
		e.shown = e.Replace && slices.ContainsFunc(entries, func(other *Entry) bool {
			return other.Err == nil && other.Claim.PID == e.PID && string(other.Claim.Value) == fmt.Sprint(e.Value)
		})
	}
	initial := holding{}
	if before.Node != "" {
		initial = holdingOf(before)
	}
	model := porcupine.Model{
		Init:  func() any { return initial },
		Step:  func(state, input, _ any) (bool, any) { return next(state.(holding), input.(*Entry)) },
		Equal: func(a, b any) bool { return a == b },
	}
	switch porcupine.CheckOperationsTimeout(model, ops, 10*time.Second) {
	case porcupine.Ok:
		return ""
	case porcupine.Unknown:
		return "it took too long to find out"
	}
	var lines []string
	for _, e := range entries {
		lines = append(lines, fmt.Sprintf("[%d,%d] %s", e.Call, e.Return, e))
	}
	return fmt.Sprintf("held before by %q:\n  %s", initial.node, strings.Join(lines, "\n  "))
}

// next tells whether an operation can have had its outcome in a state, and the
// state behind it.
func next(s holding, e *Entry) (bool, holding) {
	told := holdingOf(e.Claim)
	switch {
	case e.Kind == End && s.pid == e.PID:
		return true, holding{}
	case e.Kind == End:
		return true, s
	case e.Kind == Unregister && e.unsure():
		return true, holding{}
	case e.Kind == Register && e.unsure():
		// A claim is withdrawn; another value of one that stays may stay as well.
		if e.Replace && s.node == e.Node && s.pid == e.PID {
			s.value = fmt.Sprint(e.Value)
		}
		return true, s
	case e.Kind == Register && e.Err == nil && e.Created && s.node == "":
		return told.node == e.Node && told.pid == e.PID, told
	case e.Kind == Register && e.Err == nil && e.Created: // another value
		return e.Replace && s.node == e.Node && s.pid == e.PID && s.stamp == told.stamp && s.value != told.value, told
	case e.Kind == Register && e.Err == nil:
		return s == told && told.node == e.Node && told.pid == e.PID, s
	case e.Kind == Register && e.kind() == errs.NameTaken:
		return (s.node != e.Node || s.pid != e.PID) && s.node == told.node && s.stamp == told.stamp, s
	case e.Kind == Register && e.processOver && e.shown: // the value was there, until the process ended
		return s.pid == e.PID, holding{s.node, s.pid, s.stamp, fmt.Sprint(e.Value)}
	case e.Kind == Register && e.processOver:
		return true, s
	case e.Kind == Register: // the same holder, another value
		return s.node == e.Node && s.pid == e.PID, s
	case e.Kind == Unregister && e.Err == nil:
		return s.node == told.node && s.stamp == told.stamp, holding{}
	case e.Kind == Consistent && e.Err == nil:
		return s == told, s
	default: // not found
		return s.node == "", s
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
