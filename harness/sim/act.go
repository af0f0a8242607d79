package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/glassbox-dev/glassbox/harness"
)

// processes is how many a node has that names are registered for.
const processes = 2

// firstReplacement is the value that the first operation of an act gives which
// replaces a value; the others' are above, each its own: so that what replaces what
// can be told from the values.
const firstReplacement = 100

// ops are a number of operations that race on few names.
func ops(r *rand.Rand, nodes int, length time.Duration, n int) (list []Op) {
	names := 1 + r.IntN(4)
	// What a claim is for, and whether names are ever given up, is the act's.
	bound, epochs, kept, hasty := r.IntN(3) == 0, r.IntN(4) == 0, r.IntN(6) == 0, r.IntN(4) == 0
	var at time.Duration
	for i := range n {
		// Some come at once, some after a while.
		if r.IntN(3) > 0 {
			at += time.Duration(r.ExpFloat64() * float64(length) / float64(n) * 1.4)
		}
		if at >= length {
			break
		}
		o := Op{At: at, Node: nodeName(r.IntN(nodes)), Name: fmt.Sprintf("name%d", 1+r.IntN(names)), Kind: kind(r)}
		switch {
		case o.Kind == Unregister && kept:
			o.Kind = Register
		case o.Kind == Unregister && bound && r.IntN(2) == 0:
			o.Kind, o.Name, o.Process = End, "", 1+r.IntN(processes)
		}
		if o.Kind == Register {
			o.Value = r.IntN(3)
			if o.Replace = r.IntN(4) == 0; o.Replace {
				o.Value = firstReplacement + i
			}
			if bound {
				o.Process = r.IntN(processes + 1)
			}
			if epochs {
				o.Epoch = r.Uint64N(2)
			}
		}
		if hasty && (o.Kind == Register || o.Kind == Unregister) && r.IntN(4) == 0 {
			o.Timeout = time.Duration(r.IntN(3000)) * time.Microsecond
		}
		list = append(list, o)
		if hasty && r.IntN(20) == 0 {
			list = append(list, hurry(r, nodes, at, i)...)
		}
		if epochs && r.IntN(20) == 0 {
			list = append(list, circle(r, nodes, at, i)...)
		}
	}
	return list
}

// hurry is somebody who gives a name another value, does not wait for all to know
// it, and asks for the same once more; then others look.
func hurry(r *rand.Rand, nodes int, at time.Duration, number int) []Op {
	node, name := nodeName(r.IntN(nodes)), fmt.Sprintf("hurry%d", number)
	value, patience := firstReplacement+1000+number, time.Duration(1+r.IntN(1000))*time.Microsecond
	list := []Op{
		{At: at, Node: node, Kind: Register, Name: name},
		{At: at + 30*time.Millisecond, Node: node, Kind: Register, Name: name, Value: value, Replace: true, Timeout: patience},
		{At: at + 30*time.Millisecond + patience, Node: node, Kind: Register, Name: name, Value: value},
	}
	for i := range nodes {
		for n := range 3 {
			list = append(list, Op{At: list[2].At + time.Duration(n)*time.Millisecond + 1, Node: nodeName(i), Kind: Lookup, Name: name})
		}
	}
	return list
}

// circle is two nodes that claim two names at one moment, each one of them with a
// higher epoch than the other node's, behind the one without.
func circle(r *rand.Rand, nodes int, at time.Duration, number int) []Op {
	order := r.Perm(nodes)
	a, b := nodeName(order[0]), nodeName(order[1])
	one, two := fmt.Sprintf("circle%d", number), fmt.Sprintf("elcric%d", number)
	return []Op{
		{At: at, Node: a, Kind: Register, Name: one}, {At: at, Node: a, Kind: Register, Name: two, Epoch: 1},
		{At: at, Node: b, Kind: Register, Name: two}, {At: at, Node: b, Kind: Register, Name: one, Epoch: 1},
	}
}

func kind(r *rand.Rand) OpKind {
	switch r.IntN(10) {
	case 0, 1, 2, 3:
		return Register
	case 4, 5:
		return Unregister
	case 6, 7:
		return Lookup
	case 8:
		return Consistent
	default:
		return Publish
	}
}

// split is an act in which the cluster falls into two parts, long enough that each
// takes the other for dead. The same names are claimed on both sides, and the links
// heal at once or one after the other, while all goes on.
func split(r *rand.Rand, nodes int) Act {
	order := r.Perm(nodes)
	side := 1 + r.IntN(nodes-1)
	begins, heals := time.Duration(r.IntN(1000))*time.Millisecond, 4*time.Second+time.Duration(r.IntN(2000))*time.Millisecond
	a := Act{Length: heals + 2*time.Second, Quiet: quiet}
	a.Ops = ops(r, nodes, a.Length, 150)
	for _, x := range order[:side] {
		for _, y := range order[side:] {
			link := harness.Link{Node: nodeName(x), Peer: nodeName(y), Direction: harness.Both}
			a.Faults = append(a.Faults, Fault{begins, harness.Fault{Action: harness.Cut, Node: link.Node, Link: link}})
		}
	}
	a.Faults = append(a.Faults, Fault{heals, harness.Fault{Action: harness.Heal}})
	if r.IntN(2) == 0 { // one of them once more, just then
		link := harness.Link{Node: nodeName(order[0]), Peer: nodeName(order[side]), Direction: harness.Both}
		a.Faults = append(a.Faults, Fault{heals + 1, harness.Fault{Action: harness.Cut, Node: link.Node, Link: link}})
	}
	return a
}

// reborn is an act in which nodes end and start again at once, before the others
// have taken them for dead.
func reborn(r *rand.Rand, nodes int) Act {
	length := 4 * time.Second
	a := Act{Length: length, Ops: ops(r, nodes, length, 200), Quiet: quiet}
	for range 1 + r.IntN(4) {
		at := time.Duration(r.Int64N(int64(length)))
		node := nodeName(r.IntN(nodes))
		a.Faults = append(a.Faults,
			Fault{at, harness.Fault{Action: harness.Kill, Node: node}},
			Fault{at + time.Duration(r.IntN(20))*time.Millisecond, harness.Fault{Action: harness.Start, Node: node}})
	}
	return a
}

// joining is an act in which a node comes back into a cluster in which names come
// and go quickly.
func joining(r *rand.Rand, nodes int) Act {
	a := Act{Joining: true, Length: 3 * time.Second, Quiet: quiet}
	node := nodeName(r.IntN(nodes))
	a.Faults = []Fault{{0, harness.Fault{Action: harness.Kill, Node: node}}, {500 * time.Millisecond, harness.Fault{Action: harness.Start, Node: node}}}
	a.Ops = ops(r, nodes, a.Length, 1000)
	return a
}

// resets is an act in which connections are reset, again and again: no node fails by
// that, and what is promised is promised all the while.
func resets(r *rand.Rand, nodes int) Act {
	a := Act{Length: 2 * time.Second, Quiet: quiet}
	a.Ops = ops(r, nodes, a.Length, 200)
	for range 10 + r.IntN(20) {
		order := r.Perm(nodes)
		link := harness.Link{Node: nodeName(order[0]), Peer: nodeName(order[1])}
		at := time.Duration(r.Int64N(int64(a.Length)))
		if len(a.Ops) > 0 && r.IntN(2) == 0 { // while something is on its way
			at = a.Ops[r.IntN(len(a.Ops))].At + time.Duration(r.IntN(1000))*time.Microsecond
		}
		a.Faults = append(a.Faults, Fault{at, harness.Fault{Action: harness.Drop, Node: link.Node, Link: link}})
	}
	return a
}

// flapping is an act in which one link, or one node, goes up and down again and again
// within seconds: sometimes too quickly to be noticed, sometimes for just so long that
// the others begin to judge.
func flapping(r *rand.Rand, nodes int) Act {
	a := Act{Quiet: quiet}
	order := r.Perm(nodes)
	node, peer := nodeName(order[0]), nodeName(order[1])
	down, up := harness.Fault{Action: harness.Kill, Node: node}, harness.Fault{Action: harness.Start, Node: node}
	switch r.IntN(4) {
	case 0:
		down.Action, up.Action = harness.Freeze, harness.Thaw
	case 1, 2:
		down = harness.CutLink(node, peer, []harness.Direction{harness.Both, harness.In, harness.Out}[r.IntN(3)])
		up = harness.Fault{Action: harness.Heal}
	}
	longest := []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second}[r.IntN(3)]
	for range 3 + r.IntN(8) {
		a.Length += time.Duration(1 + r.Int64N(int64(longest)))
		a.Faults = append(a.Faults, Fault{a.Length, down})
		a.Length += time.Duration(1 + r.Int64N(int64(longest)))
		a.Faults = append(a.Faults, Fault{a.Length, up})
	}
	a.Length = max(a.Length, 2*time.Second)
	a.Ops = ops(r, nodes, a.Length, 200)
	return a
}
