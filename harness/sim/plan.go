package sim

import (
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
}

// gentle reports whether connections are all that is broken, and one link at
// most refuses new ones.
func (a Act) gentle() bool {
	refused := map[harness.Link]bool{}
	for _, f := range a.Faults {
		switch {
		case f.Action == harness.Reject && f.Link.Peer != "":
			refused[f.Link] = true
		case f.Action != harness.Drop:
			return false
		}
	}
	return len(refused) <= 1
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
)

// Op is one operation, asked of a node at a time since the act's beginning.
type Op struct {
	At      time.Duration
	Node    string
	Kind    OpKind
	Name    string
	Value   int
	Replace bool
}

func (o Op) String() string {
	switch {
	case o.Kind == Register && o.Replace:
		return fmt.Sprintf("%s: register %s = %d, in place of what it is", o.Node, o.Name, o.Value)
	case o.Kind == Register:
		return fmt.Sprintf("%s: register %s = %d", o.Node, o.Name, o.Value)
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
func Mixed(seed uint64, nodes int) Plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := Plan{Seed: seed, Nodes: nodes, Preset: []string{"local", "lan"}[r.IntN(2)]}
	for range r.IntN(4) {
		order := r.Perm(nodes)
		p.Links = append(p.Links, harness.Link{
			Node: nodeName(order[0]), Peer: nodeName(order[1]), Direction: []harness.Direction{harness.Both, harness.In}[r.IntN(2)],
			Delay: time.Duration(1+r.IntN(8)) * time.Millisecond,
		})
	}
	for i := range 5 {
		if i%2 == 0 {
			p.Acts = append(p.Acts, Act{Whole: true, Length: 2 * time.Second, Ops: ops(r, nodes, 2*time.Second, 150), Quiet: opTimeout + time.Second})
			continue
		}
		if r.IntN(4) == 0 {
			p.Acts = append(p.Acts, bridged(r, nodes))
			continue
		}
		length := time.Duration(4+r.IntN(8)) * time.Second
		p.Acts = append(p.Acts, Act{Length: length, Faults: faults(r, nodes, length), Ops: ops(r, nodes, length, 100), Quiet: quiet})
	}
	return p
}

// bridged is an act in which two nodes cannot talk, and others reach both.
func bridged(r *rand.Rand, nodes int) Act {
	const known = 5 * time.Second
	order := r.Perm(nodes)
	a := Act{Bridged: true, Length: known + 3*time.Second, Ops: ops(r, nodes, 3*time.Second, 100), Quiet: quiet}
	for i := range a.Ops {
		a.Ops[i].At += known
	}
	a.Faults = []Fault{{0, harness.CutLink(nodeName(order[0]), nodeName(order[1]), harness.Both)}}
	return a
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

// ops are a number of operations that race on few names.
func ops(r *rand.Rand, nodes int, length time.Duration, n int) (list []Op) {
	names := 1 + r.IntN(4)
	var at time.Duration
	for range n {
		// Some come at once, some after a while.
		if r.IntN(3) > 0 {
			at += time.Duration(r.ExpFloat64() * float64(length) / float64(n) * 1.4)
		}
		if at >= length {
			break
		}
		o := Op{At: at, Node: nodeName(r.IntN(nodes)), Name: fmt.Sprintf("name%d", 1+r.IntN(names)), Value: r.IntN(3), Replace: r.IntN(4) == 0}
		switch r.IntN(10) {
		case 0, 1, 2, 3:
			o.Kind = Register
		case 4, 5:
			o.Kind = Unregister
		case 6, 7:
			o.Kind = Lookup
		case 8:
			o.Kind = Consistent
		default:
			o.Kind = Publish
		}
		list = append(list, o)
	}
	return list
}

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
