package memdb

import (
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
)

// Position is a place in one origin's sequence of changes: the change with
// this number in this incarnation, and all before it. The zero Position is
// before everything.
type Position struct {
	Incarnation uint64 `json:"incarnation"`
	Seq         uint64 `json:"seq"`
}

// Covers reports whether someone at p knows all that someone at q knows. A
// higher incarnation covers every position of a lower one: what the old
// incarnation owned is gone.
func (p Position) Covers(q Position) bool {
	if p.Incarnation != q.Incarnation {
		return p.Incarnation > q.Incarnation
	}
	return p.Seq >= q.Seq
}

// Digest tells, for every origin, how far its changes have been applied.
type Digest map[string]Position

// Covers reports whether d is at or past want for every origin in want.
func (d Digest) Covers(want Digest) bool {
	for origin, p := range want {
		if !d[origin].Covers(p) {
			return false
		}
	}
	return true
}

// Hash returns a number that is equal for equal digests, so that a ping need
// not carry the whole (FNV-1a over the sorted entries). Origins at the zero
// position do not count.
func (d Digest) Hash() uint64 {
	h := fnv.New64a()
	var buf []byte
	for _, origin := range slices.Sorted(maps.Keys(d)) {
		p := d[origin]
		if p == (Position{}) {
			continue
		}
		buf = strconv.AppendQuote(buf[:0], origin)
		buf = strconv.AppendUint(append(buf, ' '), p.Incarnation, 10)
		buf = strconv.AppendUint(append(buf, ' '), p.Seq, 10)
		h.Write(buf)
	}
	return h.Sum64()
}
