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
	Unread    []Loss // nodes whose log could not be read, and why
	Unheard   []Loss // nodes some of whose events were not seen, and why
}

// Loss is something of a node that was to be observed and was not.
type Loss struct {
	Node string `json:"node"`
	Why  string `json:"why"`
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
	Begun  time.Time     // when the fault was asked for
	From   time.Time     // when it took effect
	Took   time.Duration // by the target, to do it
	Mended time.Time     // when what ends it was done; zero: never
	Over   time.Time     // when all agreed again; zero: never
	// Observers are the nodes that were to notice.
	Observers []string
}

// Sample is what a node used at one moment.
type Sample struct {
	Node       string
	Failed     bool // it could not be read: there are no figures
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

// detour is how long it may take after the link between two nodes broke until
// one calls the other by way of a third. That is when it would suspect it, in
// preset lan after 1.75 s at the latest (cluster/DESIGN.md); on processes the
// last call that failed was made 0.55 to 0.95 s after the break.
const detour = 2 * time.Second

// group says of a call that was made in the window what it was about. Only two
// nodes are concerned by a link between them, and they get around that.
func (w Window) group(c Call) CallGroup {
	victim, peer := w.Fault.Node, w.Fault.Link.Peer
	switch {
	case peer == "" && (c.Caller == victim || c.Callee == victim):
		return ToVictim
	case peer == "" || c.Caller+c.Callee != victim+peer && c.Caller+c.Callee != peer+victim:
		return Inside
	case c.At.Before(w.From.Add(detour)):
		return ToVictim
	default:
		return Across
	}
}

// rewatched is how long after all agree again the stream of a node that was
// started again may take to go on.
const rewatched = 2 * time.Second

// wasDown reports whether a node did not run then by a fault, or had just been
// started again: its stream is a new one.
func (h *History) wasDown(node string, at time.Time) bool {
	return slices.ContainsFunc(h.Windows, func(w Window) bool {
		return w.Fault.ends() && w.Fault.Node == node && w.overlaps(at.Add(-rewatched), at)
	})
}

// overlaps reports whether some of the time was in the window.
func (w Window) overlaps(from, to time.Time) bool {
	return !to.Before(w.Begun) && (w.Over.IsZero() || !from.After(w.Over))
}

// CallGroup is what was broken when a call was made.
type CallGroup int

// The groups. A call that several windows concern is of the last group of theirs.
const (
	Outside  CallGroup = iota // nothing
	Inside                    // something, but neither of the two nodes
	Across                    // the link between the two, for longer than a detour takes to find
	ToVictim                  // one of the two, or the link a moment ago
)

func (h *History) group(c Call) CallGroup {
	group := Outside
	for _, w := range h.Windows {
		if w.overlaps(c.At, c.At.Add(c.Took)) {
			group = max(group, w.group(c))
		}
	}
	return group
}

// calls returns the calls of a group.
func (h *History) calls(g CallGroup) []Call {
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
