package supervisor_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// script is what both supervisors are to do. Written as an Erlang term it is
// also what the other one reads, so its String methods are the format.
type script struct {
	seed  uint64
	root  scriptSup
	steps []scriptStep
}

func (s script) String() string {
	return fmt.Sprintf("{script,%d,%s,[\n  %s]}.\n", s.seed, s.root, join(s.steps, ",\n  "))
}

// scriptSup is a supervisor.
type scriptSup struct {
	strategy string
	max      int
	children []scriptChild
}

func (s scriptSup) String() string {
	return fmt.Sprintf("{sup,%s,%d,[%s]}", s.strategy, s.max, join(s.children, ","))
}

// scriptChild is a child: a worker, or a nested supervisor.
type scriptChild struct {
	id      string
	restart string
	fails   []int      // the tries of its place that fail, from 1
	brutal  bool       // it is killed instead of asked
	nested  *scriptSup // nil: a worker
}

func (c scriptChild) String() string {
	if c.nested != nil {
		return fmt.Sprintf("{nested,%s,%s,%s}", c.id, c.restart, *c.nested)
	}
	shutdown := "5000"
	if c.brutal {
		shutdown = "brutal_kill"
	}
	return fmt.Sprintf("{worker,%s,%s,[%s],%s}", c.id, c.restart, join(c.fails, ","), shutdown)
}

// scriptStep is one thing that is done to the supervisor of a path.
type scriptStep struct {
	op     string // exit, start, terminate, restart, delete, which, count, batch, shutdown
	path   []string
	child  string
	reason string
	spec   scriptChild
	fails  bool         // of a batch: its gate's start fails
	steps  []scriptStep // of a batch: what comes to the supervisor while it is busy with the gate
}

func (s scriptStep) String() string {
	path := "[" + strings.Join(s.path, ",") + "]"
	switch s.op {
	case "exit":
		return fmt.Sprintf("{exit,%s,%s,%s}", path, s.child, s.reason)
	case "start":
		return fmt.Sprintf("{start,%s,%s}", path, s.spec)
	case "which", "count":
		return fmt.Sprintf("{%s,%s}", s.op, path)
	case "batch":
		return fmt.Sprintf("{batch,%s,%s,%t,[%s]}", path, s.child, s.fails, join(s.steps, ","))
	case "shutdown":
		return s.op
	default:
		return fmt.Sprintf("{%s,%s,%s}", s.op, path, s.child)
	}
}

func join[T any](list []T, by string) string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = fmt.Sprint(item)
	}
	return strings.Join(texts, by)
}

// dice makes a script from its seed.
type dice struct {
	*rand.Rand
	ids    int
	places []place // all places a child may be at, started or not
}

// place is a child of a supervisor.
type place struct {
	path  []string
	child scriptChild
}

func makeScript(seed uint64) script {
	d := &dice{Rand: rand.New(rand.NewPCG(seed, 0))}
	s := script{seed: seed, root: d.sup(nil, 0)}
	for range 4 + d.IntN(14) {
		s.steps = append(s.steps, d.step())
	}
	if d.IntN(3) > 0 {
		s.steps = append(s.steps, scriptStep{op: "shutdown"})
	}
	return s
}

func pick[T any](d *dice, from ...T) T { return from[d.IntN(len(from))] }

func (d *dice) sup(path []string, depth int) scriptSup {
	s := scriptSup{strategy: pick(d, "one_for_one", "one_for_all", "rest_for_one"), max: 1000}
	if len(path) == 0 && d.IntN(5) == 0 || len(path) > 0 && d.IntN(2) == 0 {
		s.max = d.IntN(5) // it gives up some time; the root's end ends the script
	}
	for range d.IntN(5 - depth) {
		s.children = append(s.children, d.child(path, depth))
	}
	return s
}

func (d *dice) child(path []string, depth int) scriptChild {
	d.ids++
	c := scriptChild{id: fmt.Sprintf("c%d", d.ids), restart: pick(d, "permanent", "permanent", "transient", "temporary")}
	if depth < 2 && d.IntN(4) == 0 {
		nested := d.sup(append(slices.Clone(path), c.id), depth+1)
		c.nested = &nested
	} else {
		c.brutal = d.IntN(6) == 0
		for try := 1; try < 8; try++ {
			odds := 4
			if try == 1 {
				odds = 30 // it ends most scripts before they begin
			}
			if d.IntN(odds) == 0 {
				c.fails = append(c.fails, try)
			}
		}
	}
	d.places = append(d.places, place{path, c})
	return c
}

// step makes one step at some place.
func (d *dice) step() scriptStep {
	at := d.place()
	if d.IntN(5) > 0 {
		return d.simple(at, d.IntN(3) == 0)
	}
	d.ids++
	batch := scriptStep{op: "batch", path: at.path, child: fmt.Sprintf("g%d", d.ids), fails: d.IntN(2) == 0}
	if d.IntN(2) == 0 { // what follows meets a child that is about to be restarted
		batch.steps = append(batch.steps, d.simple(at, true))
	}
	for range 1 + d.IntN(5) {
		other := at
		if near := d.near(at.path); len(near) > 0 && d.IntN(2) == 0 {
			other = pick(d, near...)
		}
		batch.steps = append(batch.steps, d.simple(other, d.IntN(2) == 0))
	}
	return batch
}

func (d *dice) place() place {
	if len(d.places) == 0 {
		return place{child: scriptChild{id: "nobody", restart: "permanent"}}
	}
	return pick(d, d.places...)
}

// near is the places of one supervisor.
func (d *dice) near(path []string) (near []place) {
	for _, p := range d.places {
		if slices.Equal(p.path, path) {
			near = append(near, p)
		}
	}
	return near
}

func (d *dice) simple(at place, exit bool) scriptStep {
	s := scriptStep{op: "exit", path: at.path, child: at.child.id, reason: pick(d, "normal", "shutdown", "abnormal", "abnormal")}
	if exit {
		return s
	}
	s.op = pick(d, "start", "start", "start", "terminate", "terminate", "restart", "restart", "restart", "delete", "which", "count")
	switch {
	case s.op == "start" && d.IntN(2) == 0:
		s.spec = at.child // there already, or deleted
	case s.op == "start":
		s.spec = d.child(at.path, len(at.path))
	case d.IntN(20) == 0:
		s.child = "nobody"
	}
	return s
}
