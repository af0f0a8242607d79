package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenario is what is done to a cluster, what it does meanwhile, and what is
// asked of it. It is data: the same one runs on every target.
type Scenario struct {
	Name  string
	About string // one sentence
	Nodes int    // how many, if nobody says otherwise
	// Starts is how often a cluster is started before the one that goes on; only
	// formation is measured of the others.
	Starts int
	Rest   time.Duration // after forming, before the memory at rest is read
	Calls  Calls         // made from before the first step until Length is over
	Length time.Duration // the least time the calls go on
	Rounds int           // how often the steps are done
	Steps  []Step
	// Objectives are judged; those of other targets than the one it runs on are
	// left out.
	Objectives []Objective
}

// Calls is a workload: every node is asked to call every other one, again and
// again.
type Calls struct {
	Every   time.Duration // between two calls by way of one node; 0: none are made
	Timeout time.Duration // each call's
}

// Condition is what a step waits for.
type Condition string

// The conditions.
const (
	// Known: every live node has been told of the newest fault's effect.
	Known Condition = "known"
	// Agreed: every node that runs sees all that run alive and reaches them.
	Agreed Condition = "agreed"
)

// Step is one fault, by time or by condition: when the condition holds, and a
// while later, it is done. A step may only wait.
type Step struct {
	When  Condition // "" at once
	After time.Duration
	Do    Fault // nothing, if it has no action
}

// Fits says why a scenario cannot be run on so many nodes, nil if it can; 0 is
// its own number.
func (s Scenario) Fits(nodes int) error {
	if nodes == 0 {
		nodes = s.Nodes
	}
	if nodes < 1 || nodes > MaxNodes {
		return fmt.Errorf("1 to %d nodes, not %d", MaxNodes, nodes)
	}
	needs := 1
	if s.Calls.Every > 0 {
		needs = 2 // one to call the other
	}
	for i, step := range s.Steps {
		n, err := step.check()
		if err != nil {
			return fmt.Errorf("scenario %s, step %d: %w", s.Name, i+1, err)
		}
		needs = max(needs, n)
	}
	if nodes < needs {
		return fmt.Errorf("scenario %s needs at least %d nodes, not %d", s.Name, needs, nodes)
	}
	return nil
}

// check says what is wrong with a step, or how many nodes it needs.
func (s Step) check() (needs int, err error) {
	if !slices.Contains([]Condition{"", Known, Agreed}, s.When) {
		return 0, fmt.Errorf("there is no condition %q; there are %s and %s", s.When, Known, Agreed)
	}
	if s.Do == (Fault{}) {
		return 0, nil // it only waits
	}
	if err := s.Do.check(); err != nil {
		return 0, err
	}
	for _, node := range []string{s.Do.Node, s.Do.Link.Node, s.Do.Link.Peer} {
		if node == "" {
			continue
		}
		i := slices.Index(names(MaxNodes), node)
		if i < 0 {
			return 0, fmt.Errorf("there can be no node %q; they are n1 to n%d", node, MaxNodes)
		}
		needs = max(needs, i+1)
	}
	return needs, nil
}

// MaxNodes is the most nodes a cluster of the harness can have.
const MaxNodes = 32

// names are n1, n2, ….
func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("n%d", i+1)
	}
	return list
}

// Find returns a scenario of the catalogue.
func Find(name string) (Scenario, error) {
	var known []string
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
		known = append(known, s.Name)
	}
	return Scenario{}, fmt.Errorf("there is no scenario %q; there are %s", name, strings.Join(known, ", "))
}
