// Package memdbtest holds what the state is measured against: go-memdb alone,
// with one index and the same rows.
package memdbtest

import (
	"encoding/json"
	"fmt"

	gomemdb "github.com/hashicorp/go-memdb"

	"github.com/glassbox-dev/glassbox/memdb"
)

// Bare is a go-memdb of claims and nothing else.
type Bare struct{ db *gomemdb.MemDB }

// batch is how many rows one transaction brings, as replication does.
const batch = 512

// table holds the claims, by their names.
const table = "names"

// Fill makes a bare go-memdb with claims of a node to the names that name
// gives. Each row comes in memory of its own, as off the wire.
func Fill(n int, node string, name func(i int) string, value json.RawMessage) (*Bare, error) {
	db, err := gomemdb.NewMemDB(&gomemdb.DBSchema{Tables: map[string]*gomemdb.TableSchema{
		table: {Name: table, Indexes: map[string]*gomemdb.IndexSchema{
			"id": {Name: "id", Unique: true, Indexer: &gomemdb.StringFieldIndex{Field: "Name"}},
		}},
	}})
	if err != nil {
		return nil, fmt.Errorf("open a bare go-memdb: %w", err)
	}
	for from := 0; from < n; from += batch {
		txn := db.Txn(true)
		for i := from; i < min(from+batch, n); i++ {
			seq := uint64(i + 1)
			row := &memdb.Claim{Name: name(i), Node: node, Value: append(json.RawMessage(nil), value...), Stamp: seq, Since: seq}
			if err := txn.Insert(table, row); err != nil {
				txn.Abort()
				return nil, fmt.Errorf("fill a bare go-memdb: %w", err)
			}
		}
		txn.Commit()
	}
	return &Bare{db}, nil
}

// Holder finds the claim to a name.
func (b *Bare) Holder(name string) (memdb.Claim, bool) {
	found, err := b.db.Txn(false).First(table, "id", name)
	if err != nil || found == nil { // a string is a key of this index
		return memdb.Claim{}, false
	}
	return *found.(*memdb.Claim), true
}
