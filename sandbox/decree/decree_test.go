package decree_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/decree"
)

func copyOf(node string, acked ...string) memdb.Destroyed {
	return memdb.Destroyed{UID: "u", ID: "shop", Host: "n3", By: "n1", Node: node, Acked: acked}
}

func TestNext(t *testing.T) {
	all := []string{"n1", "n2", "n3"}
	for _, tc := range []struct {
		name   string
		copies []memdb.Destroyed
		heard  []memdb.Destroyed
		over   bool     // this node has finished with it
		put    []string // who has acknowledged
		drop   bool
	}{
		{name: "nothing is known"},
		{name: "a new one is copied", heard: []memdb.Destroyed{copyOf("")}, put: []string{"n1"}},
		{name: "one told is copied, though it is gone since", heard: []memdb.Destroyed{copyOf("n2", "n2")}, put: []string{"n1", "n2"}},
		{name: "another's is copied", copies: []memdb.Destroyed{copyOf("n2", "n2")}, put: []string{"n1", "n2"}},
		{name: "a complete one is not", copies: []memdb.Destroyed{copyOf("n2", "n1", "n2", "n3")}},
		{name: "the past is no news", copies: []memdb.Destroyed{copyOf("n2", "n2")}, over: true, put: []string{"n1", "n2", "n3"}},
		{name: "who has one more is told", copies: []memdb.Destroyed{copyOf("n1", "n1"), copyOf("n2", "n1", "n2")}, put: []string{"n1", "n2"}},
		{name: "it stays while one is missing", copies: []memdb.Destroyed{copyOf("n1", "n1", "n2"), copyOf("n2", "n1", "n2")}},
		{name: "it stays while another is not complete", copies: []memdb.Destroyed{copyOf("n1", "n1", "n2", "n3"), copyOf("n3", "n3")}},
		{name: "it goes when all are", copies: []memdb.Destroyed{copyOf("n1", "n1", "n2", "n3"), copyOf("n2", "n1", "n2", "n3")}, drop: true},
		{name: "it goes as the last", copies: []memdb.Destroyed{copyOf("n1", "n1", "n2", "n3")}, drop: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			step := decree.Next("n1", all, decree.Known{Copies: tc.copies, Heard: tc.heard, Finished: tc.over})
			require.Equal(t, tc.drop, step.Drop)
			if tc.put == nil {
				require.Nil(t, step.Put)
				return
			}
			require.NotNil(t, step.Put)
			require.Equal(t, copyOf("n1", tc.put...), *step.Put)
		})
	}
	require.Equal(t, []string{"n2", "n3"}, decree.Lacking(all, []memdb.Destroyed{copyOf("n1", "n1")}))
	require.Empty(t, decree.Lacking(nil, nil))
}

// world is a few nodes that hear of each other's copies late, die and come back.
type world struct {
	names []string
	nodes map[string]*machine
}

// machine is one node. What it says of its own copy is a sequence, which the others
// follow at their own pace.
type machine struct {
	up      bool
	disk    bool // it has a data folder
	own     *memdb.Destroyed
	spec    bool                        // its disk has the spec of the sandbox
	had     bool                        // it has had a copy
	over    bool                        // it has finished with it in this life
	said    []*memdb.Destroyed          // in this incarnation
	seen    map[string]int              // how much of what the others said
	applied map[string]*memdb.Destroyed // what that has led to
}

func (w *world) say(m *machine, own *memdb.Destroyed) {
	m.own = own
	m.said = append(m.said, own)
}

// hear lets one node hear some of what another said, and returns the copies in it.
func (w *world) hear(to, from string, n int) {
	a, b := w.nodes[to], w.nodes[from]
	for ; n > 0 && a.seen[from] < len(b.said); n-- {
		one := b.said[a.seen[from]]
		a.seen[from]++
		a.applied[from] = one
		if one != nil {
			w.step(to, *one)
		}
	}
}

// step does all that is due on a node.
func (w *world) step(name string, heard ...memdb.Destroyed) (did bool) {
	m := w.nodes[name]
	for m.up {
		step := decree.Next(name, w.names, decree.Known{Copies: m.copies(), Heard: heard, Finished: m.over})
		heard = nil
		switch {
		case step.Put != nil:
			m.had, m.spec = true, false
			w.say(m, step.Put)
		case step.Drop:
			m.over = true
			w.say(m, nil)
		default:
			return did
		}
		did = true
	}
	return did
}

func (m *machine) copies() (list []memdb.Destroyed) {
	for _, one := range m.applied {
		if one != nil {
			list = append(list, *one)
		}
	}
	if m.own != nil {
		list = append(list, *m.own)
	}
	return list
}

func (w *world) kill(name string) {
	m := w.nodes[name]
	m.up, m.over = false, false
	if !m.disk {
		m.own, m.spec = nil, false
	}
	m.said, m.seen, m.applied = nil, map[string]int{}, map[string]*memdb.Destroyed{}
}

// start starts a node again: what it said in its former life is gone for the others,
// what it says now begins with what its disk had.
func (w *world) start(name string) {
	m := w.nodes[name]
	m.up = true
	if m.own != nil {
		m.said = []*memdb.Destroyed{m.own}
	}
	for _, other := range w.nodes {
		delete(other.applied, name)
		other.seen[name] = 0
	}
}

// TestADecreeOutlivesEverythingAndEnds: on any schedule no copy is deleted before
// every node has had one; while a disk has the spec, and all nodes have disks, some
// node has a copy; and when all are up and hear each other no copy is left.
func TestADecreeOutlivesEverythingAndEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{nodes: map[string]*machine{}}
		disks := rapid.Bool().Draw(t, "all have disks")
		for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
			name := fmt.Sprintf("n%d", i+1)
			w.names = append(w.names, name)
			m := &machine{up: true, disk: disks || rapid.Bool().Draw(t, "disk"), seen: map[string]int{}, applied: map[string]*memdb.Destroyed{}}
			m.spec = m.disk
			w.nodes[name] = m
		}
		node := rapid.SampledFrom(w.names)
		w.step("n1", copyOf(""))
		check := func() {
			for _, name := range w.names {
				m := w.nodes[name]
				dropped := slices.Contains(m.said, nil)
				for _, other := range w.names {
					require.True(t, !dropped || w.nodes[other].had, "%s deleted its copy, and %s never had one", name, other)
				}
			}
			for _, name := range w.names {
				kept := slices.ContainsFunc(w.names, func(other string) bool { return w.nodes[other].own != nil })
				require.True(t, !disks || !w.nodes[name].spec || kept, "%s would start what was destroyed", name)
			}
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			a, b := node.Draw(t, "a"), node.Draw(t, "b")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				w.kill(a)
			case 1:
				if !w.nodes[a].up {
					w.start(a)
				}
			case 2:
				w.step(a)
			default:
				if a != b && w.nodes[a].up && w.nodes[b].up {
					w.hear(a, b, rapid.IntRange(1, 3).Draw(t, "n"))
				}
			}
			check()
		}
		known := false
		for _, name := range w.names {
			if !w.nodes[name].up {
				w.start(name)
			}
			known = known || w.nodes[name].own != nil
		}
		for again, rounds := true, 0; again; rounds++ {
			require.Less(t, rounds, 50, "it never comes to rest")
			again = false
			for _, a := range w.names {
				for _, b := range w.names {
					if a != b {
						again = again || w.nodes[a].seen[b] < len(w.nodes[b].said)
						w.hear(a, b, len(w.nodes[b].said))
					}
				}
				again = w.step(a) || again
			}
			check()
		}
		for _, name := range w.names {
			require.Nil(t, w.nodes[name].own, "%s keeps a copy for ever", name)
			require.True(t, !known || !w.nodes[name].spec, "%s has not heard of it", name)
		}
	})
}
