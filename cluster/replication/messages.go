package replication

import (
	"encoding/json"

	"github.com/glassbox-dev/glassbox/memdb"
)

// The node-to-node methods.
const (
	pushMethod     = "replication.push"
	snapshotMethod = "replication.snapshot"
	pullMethod     = "replication.pull"
	eventsMethod   = "replication.events"
)

// Bounds of one message.
const (
	batchEntries = 512
	batchBytes   = 512 << 10
)

// push carries an origin's own changes, those behind From.
type push struct {
	Incarnation uint64         `json:"incarnation"`
	From        uint64         `json:"from"`
	Changes     []memdb.Change `json:"changes,omitempty"`
}

// reached is the answer to a push or a chunk: where the receiver stands.
type reached struct {
	Position memdb.Position `json:"position"`
}

// chunk is a part of a snapshot of one origin's rows.
type chunk struct {
	Origin   string         `json:"origin"`
	Position memdb.Position `json:"position"`
	Index    int            `json:"index"` // 0, 1, 2 …
	Last     bool           `json:"last"`
	Rows     []memdb.Change `json:"rows,omitempty"`
}

// pull asks for a chunk of a third origin's rows.
type pull struct {
	Origin string `json:"origin"`
	Index  int    `json:"index"`
}

// publication carries an origin's own events, those behind From.
type publication struct {
	Incarnation uint64            `json:"incarnation"`
	From        uint64            `json:"from"`
	Missed      uint64            `json:"missed,omitempty"` // lost before them
	Events      []json.RawMessage `json:"events,omitempty"`
}

// heard is the answer: the newest event the receiver has of this incarnation;
// a receiver that knows none begins with what comes next.
type heard struct {
	Known bool   `json:"known"`
	Seq   uint64 `json:"seq"`
}

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

func changeSize(c memdb.Change) int { return len(c.Row) + len(c.ID) + 64 }

// chunks cuts a snapshot into messages; an empty one is one empty chunk.
func chunks(origin string, position memdb.Position, rows []memdb.Change) []chunk {
	var list []chunk
	for {
		part := cut(rows, changeSize)
		rows = rows[len(part):]
		list = append(list, chunk{Origin: origin, Position: position, Index: len(list), Last: len(rows) == 0, Rows: part})
		if len(rows) == 0 {
			return list
		}
	}
}
