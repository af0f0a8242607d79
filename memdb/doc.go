// Package memdb is the cluster's state as one node knows it: rows of nodes,
// sandboxes and processes, in hashicorp/go-memdb. Nothing else of the project
// touches that library.
//
// # Usage
//
//	db, err := memdb.Open("n1")
//	position, err := db.Update(func(tx *memdb.Tx) error { return tx.PutSandbox(row) })
//	for _, row := range db.View().Sandboxes() { … }
//
// # Guarantees
//
// Every row has one origin node, its only writer. [DB.Update] writes this
// node's own rows: all of a transaction or nothing, numbered 1, 2, 3 … within
// the node's incarnation, and logged in commit order. [DB.Apply] and
// [DB.Install] take another origin's rows: strictly in its order, never half, a
// higher incarnation replacing all of the lower one.
//
// A [View] is one moment: it never changes, blocks nobody and is never blocked.
// Rows of an origin that is hidden (dead, or returning and not caught up) are
// left out, except that its sandboxes stay visible with the status unknown:
// they still have their ids, and that a decree of destruction counts whoever told it.
//
// # What callers owe
//
// Rows are immutable: go-memdb keeps what it is given. The methods copy what
// they take and return, but not the maps and slices inside.
package memdb
