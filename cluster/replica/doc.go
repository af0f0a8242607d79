// Package replica is one node's copy of the cluster's state: its rows in
// memdb, their replication and the names, as one pure core and the shell around
// it.
//
// # Usage
//
//	r := replica.New(replica.Config{Self: "n1", DB: db, Feeds: feeds, …}, caller)
//	go r.Run(ctx)
//	position, err := r.Update(func(tx *memdb.Tx) error { return tx.PutSandbox(row) })
//	err = r.Acknowledged(ctx)
//	claim, created, err := r.Register(ctx, registry.Register{Name: "shop/cache", Value: v})
//
// A [Core] is the same without clock, goroutines and sockets: the simulator
// drives it, so that what is proved there is what runs here.
//
// # What callers owe
//
// All of this node's rows are written through [Replica.Update]; what membership
// says comes in its order, by the methods of [cluster.Replica].
package replica
