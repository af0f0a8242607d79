package replication

import (
	"encoding/json"

	"github.com/glassbox-dev/glassbox/memdb"
)

// The node-to-node methods.
const (
	PushMethod     = "replication.push"
	SnapshotMethod = "replication.snapshot"
	PullMethod     = "replication.pull"
	FeedMethod     = "replication.feed"
)

// Bounds of one message.
const (
	batchEntries = 512
	batchBytes   = 512 << 10
)

// Push carries an origin's own changes.
type Push = memdb.Batch

// Reached is the answer to a push or a chunk.
type Reached struct {
	Position memdb.Position `json:"position"` // where the receiver stands
	Beaten   []memdb.Rival  `json:"beaten,omitempty"`
}

// Chunk is a part of a snapshot of one origin's rows.
type Chunk struct {
	Origin    string         `json:"origin"`
	Position  memdb.Position `json:"position"`
	Confirmed uint64         `json:"confirmed,omitempty"`
	Index     int            `json:"index"` // 0, 1, 2 …
	Last      bool           `json:"last"`
	Rows      []memdb.Change `json:"rows,omitempty"`
}

// Pull asks for what the one who asks lacks of a third origin: what is behind
// a position, or a chunk of the snapshot that was the answer to that.
type Pull struct {
	Origin string         `json:"origin"`
	Have   memdb.Position `json:"have"`
	Index  int            `json:"index,omitempty"`
}

// Pulled is the answer: changes, or a chunk.
type Pulled struct {
	Delta *memdb.Batch `json:"delta,omitempty"`
	Chunk *Chunk       `json:"chunk,omitempty"`
}

// Publication carries an origin's own entries of a feed, those behind From.
type Publication struct {
	Feed        string            `json:"feed"`
	Incarnation uint64            `json:"incarnation"`
	From        uint64            `json:"from"`
	Missed      uint64            `json:"missed,omitempty"` // lost before them
	Entries     []json.RawMessage `json:"entries,omitempty"`
}

// Heard is the answer: the newest entry the receiver has of this incarnation; a
// receiver that knows none begins with what comes next.
type Heard struct {
	Known bool   `json:"known"`
	Seq   uint64 `json:"seq"`
}

// Params returns what a method's parameters are to be decoded into, nil for a
// method that is none of replication.
func Params(method string) any {
	switch method {
	case PushMethod:
		return &Push{}
	case SnapshotMethod:
		return &Chunk{}
	case PullMethod:
		return &Pull{}
	case FeedMethod:
		return &Publication{}
	}
	return nil
}

// Result returns what a method's result is to be decoded into.
func Result(method string) any {
	switch method {
	case PushMethod, SnapshotMethod:
		return &Reached{}
	case PullMethod:
		return &Pulled{}
	default:
		return &Heard{}
	}
}

// Ordered reports whether a method must be handled in the order in which it
// came from a peer.
func Ordered(method string) bool { return Params(method) != nil && method != PullMethod }

// cut returns as many items from the front as fit one message, at least one.
func cut[T any](items []T, size func(T) int) []T {
	bytes := 0
	for i, item := range items {
		if bytes += size(item); i > 0 && (bytes > batchBytes || i >= batchEntries) {
			return items[:i]
		}
	}
	return items
}

// chunks cuts a snapshot into messages; an empty one is one empty chunk.
func chunks(origin string, s memdb.Snapshot) []Chunk {
	var list []Chunk
	for {
		part := cut(s.Rows, memdb.Change.Size)
		s.Rows = s.Rows[len(part):]
		list = append(list, Chunk{
			Origin: origin, Position: s.Position, Confirmed: s.Confirmed, Index: len(list), Last: len(s.Rows) == 0, Rows: part,
		})
		if len(s.Rows) == 0 {
			return list
		}
	}
}
