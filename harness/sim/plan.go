package sim

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/harness"
)

// Plan is everything that is done to a simulated cluster. It is data: a part of
// it can be left out and the rest is a plan still, which is how a failing one is made
// small.
type Plan struct {
	Seed   uint64 // of the network, and of what the nodes choose by chance
	Nodes  int
	Preset string
	// Links are slower than others from the beginning to the end: no fault, but far
	// away.
	Links []harness.Link
	Acts  []Act
}

// Act is a time of its own: at its beginning the cluster is whole and nothing is
// under way, and so it is again at its end, when the views are compared.
type Act struct {
	Length time.Duration // of faults and operations; then all trouble ends
	Faults []Fault
	Ops    []Op
	Quiet  time.Duration // until the views are compared
	// Whole says that nothing is broken: then the answers must be linearizable.
	Whole bool
	// Bridged says that only two nodes cannot talk, and that the operations begin
	// when all know: then the third makes it look whole.
	Bridged bool
	// Joining says that a node is killed and comes back while all goes on. From the
	// moment at which every node sees every other one alive, no lookup may be behind
	// what returned before.
	Joining bool
}

// gentle reports whether connections are all that is broken, and one link at
// most refuses new ones, about which others can be asked: alone with a peer, a node
// takes two refusals for its death.
func (a Act) gentle(nodes int) bool {
	refused := map[harness.Link]bool{}
	for _, f := range a.Faults {
		switch {
		case f.Action == harness.Reject && f.Link.Peer != "":
			refused[f.Link] = true
		case f.Action != harness.Drop:
			return false
		}
	}
	return len(refused) == 0 || len(refused) == 1 && nodes > 2
}

// survivable reports whether no node is made to end, or to do nothing while it
// looks alive: should none be taken for dead, all that is promised is.
func (a Act) survivable() bool {
	return !slices.ContainsFunc(a.Faults, func(f Fault) bool {
		return slices.Contains([]harness.Action{harness.Kill, harness.Start, harness.Leave, harness.Stall}, f.Action)
	})
}

// Fault is one thing done to the cluster, at a time since the act's beginning.
type Fault struct {
	At time.Duration
	harness.Fault
}

// OpKind is what a client asks for.
type OpKind string

// The kinds.
const (
	Register   OpKind = "register"
	Unregister OpKind = "unregister"
	Lookup     OpKind = "lookup"
	Consistent OpKind = "consistent lookup"
	Publish    OpKind = "publish"
	End        OpKind = "end" // a process of the node ends, and its names with it
)

// Op is one operation, asked of a node at a time since the act's beginning.
type Op struct {
	At      time.Duration
	Node    string
	Kind    OpKind
	Name    string
	Value   int
	Replace bool
	Process int // which of the node's processes is to hold it, or ends; 0: the node itself
	Epoch   uint64
	Timeout time.Duration // 0: opTimeout
}

func (o Op) timeout() time.Duration { return cmp.Or(o.Timeout, opTimeout) }

func (o Op) String() string {
	text := o.text()
	if o.Timeout > 0 {
		text += fmt.Sprintf(" within %s", o.Timeout)
	}
	return text
}

func (o Op) text() string {
	switch {
	case o.Kind == Register:
		text := fmt.Sprintf("%s: register %s = %d", o.Node, o.Name, o.Value)
		if o.Process > 0 {
			text += fmt.Sprintf(" for process %d", o.Process)
		}
		if o.Epoch > 0 {
			text += fmt.Sprintf(", epoch %d", o.Epoch)
		}
		if o.Replace {
			text += ", in place of what it is"
		}
		return text
	case o.Kind == End:
		return fmt.Sprintf("%s: process %d ends", o.Node, o.Process)
	default:
		return fmt.Sprintf("%s: %s %s", o.Node, o.Kind, o.Name)
	}
}

// Bounds of the plans that are made by chance.
const (
	opTimeout = 2 * time.Second // each operation's
	quiet     = 8 * time.Second // longer than any dial, redial and time-out
	forming   = 3 * time.Second
)

// Mixed makes a plan by chance: acts in which nothing is broken, and acts in
// which all kinds of faults are.
func Mixed(seed uint64, nodes int) Plan { return Long(seed, nodes, 0) }

// Long makes a plan as [Mixed] does that takes at least so much virtual time.
func Long(seed uint64, nodes int, atLeast time.Duration) Plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := Plan{Seed: seed, Nodes: nodes, Preset: []string{"local", "lan"}[r.IntN(2)]}
	for range r.IntN(4) {
		order := r.Perm(nodes)
		p.Links = append(p.Links, harness.Link{
			Node: nodeName(order[0]), Peer: nodeName(order[1]), Direction: []harness.Direction{harness.Both, harness.In}[r.IntN(2)],
			Delay: time.Duration(1+r.IntN(8)) * time.Millisecond,
		})
	}
	took := forming
	for i := 0; i < 5 || took < atLeast; i++ {
		a := chance(r, nodes, i%2 == 0)
		p.Acts = append(p.Acts, a)
		took += a.Length + a.Quiet
	}
	return p
}

// chance is an act made by chance.
func chance(r *rand.Rand, nodes int, whole bool) Act {
	switch {
	case whole:
		return Act{Whole: true, Length: 2 * time.Second, Ops: ops(r, nodes, 2*time.Second, 150), Quiet: opTimeout + time.Second}
	case r.IntN(4) == 0:
		return bridged(r, nodes)
	case r.IntN(4) == 0:
		return split(r, nodes)
	case r.IntN(6) == 0:
		return reborn(r, nodes)
	case r.IntN(6) == 0:
		return joining(r, nodes)
	case r.IntN(4) == 0:
		return resets(r, nodes)
	case r.IntN(4) == 0:
		return flapping(r, nodes)
	default:
		length := time.Duration(4+r.IntN(8)) * time.Second
		return Act{Length: length, Faults: faults(r, nodes, length), Ops: ops(r, nodes, length, 100), Quiet: quiet}
	}
}

// bridged is an act in which two nodes cannot talk, and others, if there are any,
// reach both.
func bridged(r *rand.Rand, nodes int) Act {
	const known = 5 * time.Second
	order := r.Perm(nodes)
	a := Act{Bridged: nodes > 2, Length: known + 3*time.Second, Ops: ops(r, nodes, 3*time.Second, 100), Quiet: quiet}
	for i := range a.Ops {
		a.Ops[i].At += known
	}
	a.Faults = []Fault{{0, harness.CutLink(nodeName(order[0]), nodeName(order[1]), harness.Both)}}
	return a
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

// refusals are faults that break connections and no node: one link is refused,
// others are reset. (Refused by all is as good as dead.)
func refusals(r *rand.Rand, nodes int, length time.Duration) (list []Fault) {
	refused := r.Perm(nodes)
	for range 1 + r.IntN(4) {
		at := time.Duration(r.Int64N(int64(length)))
		order := refused
		if r.IntN(2) == 0 {
			order = r.Perm(nodes)
		} else {
			link := harness.Link{Node: nodeName(order[0]), Peer: nodeName(order[1%nodes]), Direction: harness.Both}
			list = append(list, Fault{at, harness.Fault{Action: harness.Reject, Node: link.Node, Link: link}})
		}
		link := harness.Link{Node: nodeName(order[0]), Peer: nodeName(order[1%nodes])}
		list = append(list, Fault{at + time.Millisecond, harness.Fault{Action: harness.Drop, Node: link.Node, Link: link}})
	}
	return list
}

// faults are some faults and what ends them.
func faults(r *rand.Rand, nodes int, length time.Duration) (list []Fault) {
	if r.IntN(4) == 0 {
		return refusals(r, nodes, length)
	}
	add := func(at time.Duration, f harness.Fault) { list = append(list, Fault{at, f}) }
	for range 1 + r.IntN(5) {
		at := time.Duration(r.Int64N(int64(length)))
		until := at + time.Duration(r.Int64N(int64(length)))
		order := r.Perm(nodes)
		node, peer := nodeName(order[0]), nodeName(order[1%nodes])
		link := harness.Link{Node: node, Peer: peer, Direction: []harness.Direction{harness.Both, harness.In, harness.Out}[r.IntN(3)]}
		if r.IntN(3) == 0 {
			link.Peer = ""
		}
		switch r.IntN(12) {
		case 0, 1, 2:
			add(at, harness.Fault{Action: harness.Cut, Node: node, Link: link})
		case 3:
			link.Delay = time.Duration(1+r.IntN(300)) * time.Millisecond
			add(at, harness.Fault{Action: harness.Delay, Node: node, Link: link})
		case 4:
			link.Loss = 0.02 + 0.3*r.Float64()
			add(at, harness.Fault{Action: harness.Lose, Node: node, Link: link})
		case 5:
			add(at, harness.Fault{Action: harness.Reject, Node: node, Link: link})
			add(at+time.Millisecond, harness.Fault{Action: harness.Drop, Node: node, Link: harness.Link{Node: node, Peer: peer}})
		case 6:
			add(at, harness.Fault{Action: harness.Drop, Node: node, Link: harness.Link{Node: node, Peer: peer}})
		case 7, 8:
			add(at, harness.Fault{Action: harness.Kill, Node: node})
			add(until, harness.Fault{Action: harness.Start, Node: node})
		case 9:
			add(at, harness.Fault{Action: []harness.Action{harness.Freeze, harness.Pause}[r.IntN(2)], Node: node})
			if r.IntN(2) == 0 { // or when the act is over
				add(until, harness.Fault{Action: harness.Thaw, Node: node})
			}
		case 10:
			add(at, harness.Fault{Action: harness.Leave, Node: node})
			add(until, harness.Fault{Action: harness.Start, Node: node})
		case 11:
			add(at, harness.Fault{Action: harness.Stall, Node: node})
		}
		if r.IntN(3) == 0 {
			add(until, harness.Fault{Action: harness.Heal})
		}
	}
	return list
}

// String tells the plan as a schedule.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d nodes, preset %s, seed %d\n", p.Nodes, p.Preset, p.Seed)
	for _, l := range p.Links {
		fmt.Fprintf(&b, "  always: %s away, %s and %s (%s)\n", l.Delay, l.Node, l.Peer, l.Direction)
	}
	for i, a := range p.Acts {
		if len(a.Faults)+len(a.Ops) == 0 && i < len(p.Acts)-1 {
			continue
		}
		fmt.Fprintf(&b, "  act %d, %s\n", i+1, a.Length)
		lines := map[time.Duration][]string{}
		for _, f := range a.Faults {
			lines[f.At] = append(lines[f.At], f.Fault.String())
		}
		for _, o := range a.Ops {
			lines[o.At] = append(lines[o.At], o.String())
		}
		for _, at := range slices.Sorted(maps.Keys(lines)) {
			for _, line := range lines[at] {
				fmt.Fprintf(&b, "    %10s  %s\n", at.Round(time.Microsecond), line)
			}
		}
	}
	return b.String()
}
