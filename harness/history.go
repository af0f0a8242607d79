package harness

import (
	"slices"
	"time"
)

// History is everything that happened in a run, by the harness's clock. The
// figures are functions of it.
type History struct {
	Nodes     []string
	Begun     time.Time   // of the calls
	Ended     time.Time   // of the calls
	Formation []Formation // one for each start of the cluster
	Calls     []Call
	Sightings []Sighting
	Windows   []Window
	Samples   []Sample
	Ends      []End
}

// Formation is one start of a cluster.
type Formation struct {
	Started time.Time
	// Joined is when each node was first seen to have joined and to see all
	// nodes alive; one that never was is missing.
	Joined map[string]time.Time
}

// Call is one call of the workload.
type Call struct {
	Caller, Callee string
	At             time.Time
	Took           time.Duration
	Kind           string // of the error; "" is success
	Definite       bool   // it certainly did not happen
}

// Sighting is an event about a member, as a node told it.
type Sighting struct {
	Observer string
	Type     string // MemberFailed …
	Subject  string
	Why      string
	At       time.Time // when it arrived here
}

// Window is the time in which a fault was in force, and until all was well
// again.
type Window struct {
	Fault  Fault
	Begun  time.Time // when the fault was asked for
	From   time.Time // when it took effect
	Mended time.Time // when what ends it was done; zero: never
	Over   time.Time // when all agreed again; zero: never
	// Observers are the nodes that were to notice.
	Observers []string
}

// Sample is what a node used at one moment.
type Sample struct {
	Node       string
	At         time.Time
	After      bool // after the run; otherwise at rest before it
	Memory     Memory
	Goroutines int
	OpenFiles  int
}

// End is how a node ended, of the ends that nobody caused: those say nothing.
type End struct {
	Node string
	How  string
}

// hits reports whether the window's fault is about a node, or the link between
// two.
func (w Window) hits(caller, callee string) bool {
	victim, peer := w.Fault.Node, w.Fault.Link.Peer
	if peer != "" {
		return caller == victim && callee == peer || caller == peer && callee == victim
	}
	return caller == victim || callee == victim
}

// overlaps reports whether some of the time was in the window.
func (w Window) overlaps(from, to time.Time) bool {
	return !to.Before(w.Begun) && (w.Over.IsZero() || !from.After(w.Over))
}

// group says of a call whether it was made while nothing was broken, to live
// nodes while something was, or to or by way of a victim.
func (h *History) group(c Call) callGroup {
	group := outside
	for _, w := range h.Windows {
		switch {
		case !w.overlaps(c.At, c.At.Add(c.Took)):
		case w.hits(c.Caller, c.Callee):
			return victim
		default:
			group = inside
		}
	}
	return group
}

type callGroup int

const (
	outside callGroup = iota
	inside
	victim
)

// calls returns the calls of a group.
func (h *History) calls(g callGroup) []Call {
	return slices.DeleteFunc(slices.Clone(h.Calls), func(c Call) bool { return h.group(c) != g })
}

// seen returns when an observer was first told one of the types of an event
// about a node in a window.
func (h *History) seen(w Window, observer string, types ...string) (time.Time, bool) {
	for _, s := range h.Sightings {
		if s.Observer == observer && s.Subject == w.Fault.Node && slices.Contains(types, s.Type) && !s.At.Before(w.Begun) &&
			(w.Over.IsZero() || !s.At.After(w.Over)) {
			return s.At, true
		}
	}
	return time.Time{}, false
}
