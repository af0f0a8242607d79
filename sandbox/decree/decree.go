// Package decree decides how a decree of destruction lives and ends. It is pure:
// it knows neither disks nor the cluster.
//
// A sandbox that was destroyed must not come back from the disk of a node that was
// away. So every node keeps a copy of the decree until every configured node has
// had one.
//
//   - Who hears of a decree that not all have, and has no copy, makes one. It is on
//     disk, and what the disk had of the sandbox is gone, before it is told.
//   - Every copy carries who is known to have, or to have had, one. Copies that meet
//     tell each other: the sets only grow.
//   - A copy whose set has all configured nodes is complete. It is deleted when no
//     copy that is not is known any more, so that nobody is left with one that can no
//     longer be completed. A complete one is never copied.
//   - Who has deleted its copy remembers that all had one. Should it hear of one that
//     is not complete, late or from a node that was away, it says so in a complete
//     copy, which makes nobody copy anything: else two nodes could go on for ever
//     taking each other's past for news.
package decree

import (
	"maps"
	"slices"

	"github.com/glassbox-dev/glassbox/memdb"
)

// Step is what a node is to do about a decree now: at most one of both.
type Step struct {
	Put  *memdb.Destroyed // store this as its copy
	Drop bool             // delete its copy
}

// Known is what a node knows of a decree.
type Known struct {
	Copies   []memdb.Destroyed // all there are, its own included
	Heard    []memdb.Destroyed // others that it was told of, which may be gone since
	Finished bool              // it has deleted its copy, since all had one
}

// Next says what the node called self is to do. Doing it may make another step due,
// with nothing heard.
func Next(self string, configured []string, k Known) Step {
	var own, open *memdb.Destroyed
	all := slices.Concat(k.Copies, k.Heard)
	acked := acks(all)
	for _, one := range all {
		switch {
		case one.Node == self:
			own = &one
		case !complete(one, configured):
			open = &one
		}
	}
	switch {
	case own == nil && open == nil:
		return Step{}
	case own == nil:
		acked[self] = true
		for _, node := range configured {
			acked[node] = acked[node] || k.Finished
		}
		maps.DeleteFunc(acked, func(_ string, has bool) bool { return !has })
		return put(*open, self, acked)
	case len(acked) > len(own.Acked):
		return put(*own, self, acked)
	}
	waits := slices.ContainsFunc(k.Copies, func(one memdb.Destroyed) bool { return !complete(one, configured) })
	return Step{Drop: !waits}
}

func put(like memdb.Destroyed, self string, acked map[string]bool) Step {
	like.Node, like.Acked = self, slices.Sorted(maps.Keys(acked))
	return Step{Put: &like}
}

// Lacking returns which of some nodes are not known to have had a copy, sorted.
func Lacking(nodes []string, copies []memdb.Destroyed) (names []string) {
	acked := acks(copies)
	for _, node := range slices.Sorted(slices.Values(nodes)) {
		if !acked[node] {
			names = append(names, node)
		}
	}
	return names
}

func complete(one memdb.Destroyed, configured []string) bool {
	return len(Lacking(configured, []memdb.Destroyed{one})) == 0
}

func acks(copies []memdb.Destroyed) map[string]bool {
	acked := map[string]bool{}
	for _, one := range copies {
		for _, node := range one.Acked {
			acked[node] = true
		}
	}
	return acked
}
