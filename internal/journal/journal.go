// Package journal is a bounded sequence that is only appended to and read by
// position: events, changes, output.
//
// # Usage
//
//	j := journal.New[string](journal.Limits{Entries: 1000}, nil)
//	j.Append("a")
//	items, missed := j.TryRead(after, 100)
//	err := j.Wait(ctx, after) // until there is something behind after
//
// # Guarantees
//
// Positions are 1, 2, 3 … and never used twice. Appending never waits: beyond
// the limits the oldest entries are dropped, and a reader that was too slow is
// told how many it missed. Entries are shared with the readers and must not be
// changed. An empty journal takes next to no memory.
package journal

import (
	"context"
	"sync"
)

// Limits bound a journal; zero means no bound of that kind. The newest entry
// is always kept.
type Limits struct {
	Entries int
	Bytes   int // as the size function counts them
}

// Item is an entry and its position.
type Item[T any] struct {
	Seq   uint64
	Value T
}

// Journal is a bounded sequence. All methods may be called from several
// goroutines at once.
type Journal[T any] struct {
	limits Limits
	size   func(T) int

	mu      sync.Mutex
	ring    []T // of kept entries from index first on, positions without gaps
	first   int
	kept    int
	bytes   int
	last    uint64
	changed chan struct{} // made by the first that waits, closed by the next append
}

// New returns an empty journal. size may be nil if the limits have no Bytes.
func New[T any](limits Limits, size func(T) int) *Journal[T] {
	if size == nil {
		size = func(T) int { return 0 }
	}
	return &Journal[T]{limits: limits, size: size}
}

// NewAt returns an empty journal whose first entry will be the one behind last.
func NewAt[T any](limits Limits, size func(T) int, last uint64) *Journal[T] {
	j := New(limits, size)
	j.last = last
	return j
}

// Append adds an entry and returns its position.
func (j *Journal[T]) Append(v T) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.kept == len(j.ring) {
		j.grow()
	}
	*j.at(j.kept) = v
	j.kept++
	j.bytes += j.size(v)
	j.last++
	j.trim()
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
	return j.last
}

// at is the place of the i-th entry that is kept.
func (j *Journal[T]) at(i int) *T {
	if i += j.first; i >= len(j.ring) {
		i -= len(j.ring)
	}
	return &j.ring[i]
}

// grow makes room for more entries, but for no more than one beyond the limit.
func (j *Journal[T]) grow() {
	size := max(2*len(j.ring), 4)
	if j.limits.Entries > 0 {
		size = min(size, j.limits.Entries+1)
	}
	ring := make([]T, size)
	n := copy(ring, j.ring[j.first:])
	copy(ring[n:], j.ring[:j.first])
	j.ring, j.first = ring, 0
}

// trim drops the oldest entries beyond the limits.
func (j *Journal[T]) trim() {
	for j.kept > 1 && j.over(j.kept) {
		oldest := j.at(0)
		j.bytes -= j.size(*oldest)
		var none T
		*oldest = none // what was dropped is freed
		j.kept--
		if j.first++; j.first == len(j.ring) {
			j.first = 0
		}
	}
}

func (j *Journal[T]) over(entries int) bool {
	return j.limits.Entries > 0 && entries > j.limits.Entries || j.limits.Bytes > 0 && j.bytes > j.limits.Bytes
}

// Last returns the newest entry's position, 0 if there was none.
func (j *Journal[T]) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// TryRead returns up to limit entries (0: all) behind a position, and how many
// behind it are no longer kept. A position that was not reached yet counts as
// the newest.
func (j *Journal[T]) TryRead(after uint64, limit int) (items []Item[T], missed uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	after = min(after, j.last)
	first := j.last - uint64(j.kept) + 1
	from := max(after+1, first)
	n := int(j.last + 1 - from)
	if limit > 0 {
		n = min(n, limit)
	}
	items = make([]Item[T], n)
	for i := range items {
		items[i] = Item[T]{from + uint64(i), *j.at(int(from-first) + i)}
	}
	return items, from - after - 1
}

// Wait waits until there is an entry behind a position, or the context ends:
// then its error is returned.
func (j *Journal[T]) Wait(ctx context.Context, after uint64) error {
	for {
		changed := j.waitFor(after)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waitFor returns what the next append closes, nil if there is nothing to wait
// for.
func (j *Journal[T]) waitFor(after uint64) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last > after {
		return nil
	}
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.changed
}
