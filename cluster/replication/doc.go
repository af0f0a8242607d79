// Package replication brings every node's rows and events to all others.
//
// # Usage
//
//	r := replication.New(replication.Config{Self: "n1", DB: db, Caller: links, …})
//	go r.Run(ctx)
//	r.Up("n2", incarnation, digest) // a link to n2 works, and n2 said this
//	r.Saw("n2", digest)             // n2 said so later, in a ping
//	r.Down("n2")
//	missing, err := r.WaitAcked(ctx, position, live)
//
// # Guarantees
//
// A node broadcasts its own changes over each link as they happen: one batch in
// flight per link, carrying whatever piled up meanwhile, answered with the
// position the peer has reached. A peer applies an origin's changes strictly in
// their order; the answer to a batch that does not fit tells the sender where
// to go on. A peer that is further behind than the log reaches gets a snapshot
// in chunks, which it installs whole.
//
// Whoever sees in a digest that another member knows more of a third origin
// pulls it from that member. So what a node knows reaches all that can reach
// anybody who knows it.
//
// Events go the same way, each once and in the origin's order, but are not
// kept for ever: a peer that was away for too long is told how many it missed.
//
// # What callers owe
//
// The methods [Replicator.Inline] names must be handled in the order in which
// they came from a peer. All else is bounded and checked here.
package replication
