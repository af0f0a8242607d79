// Package replication brings every node's rows and events to all others.
//
// # Usage
//
//	c := replication.NewCore(replication.Config{Self: "n1", DB: db, Feeds: feeds, …})
//	c.Up(now, "n2", incarnation, digest) // a link to n2 works, and n2 said this
//	c.Saw(now, "n2", digest)             // n2 said so later, in a ping
//	c.Changed(now)                       // db or a feed has something new
//	for _, call := range c.Take() { … }  // ask the peers, and then
//	c.Answered(now, call.ID, result, err)
//	result, err := c.Handle("n2", params) // what a peer asks
//	c.Tick(now)                           // at c.Next()
//
// # Guarantees
//
// A [Core] is pure: it has no goroutines, no clock and no sockets. Package
// replica is its shell.
//
// A node broadcasts its own changes over each link as they happen: one batch in
// flight per link, carrying whatever piled up meanwhile, answered with the
// position the peer has reached. A peer applies an origin's changes strictly in
// their order; the answer to a batch that does not fit tells the sender where
// to go on. A peer that is further behind than the log reaches gets a snapshot
// in chunks, which it installs whole. When a link comes up, what is behind the
// watermark is said again: so the peer's word that it knows a better claim than
// one of ours is not lost with a link.
//
// Whoever sees in two digests of a member that it knows more of a third origin
// pulls it from that member. So what a node knows reaches all that can reach
// anybody who knows it.
//
// Events go the same way, each once and in the origin's order, but are not
// kept for ever: a peer that was away for too long is told how many it missed.
//
// A peer is believed about its own rows, and about those of thirds when it is
// asked for them. What does not fit is refused or said again, and a peer that
// does not advance is asked after a pause that grows from 20 ms to 500 ms, of
// which the first is logged.
//
// # What callers owe
//
// Every call that was taken is answered, with an error after a time-out at the
// latest: a lane waits for its answer for ever. The methods for which [Ordered]
// is true are handled in the order in which they came on a link; what an earlier
// link still brings may come at any time. A tick that is late delays, and loses
// nothing.
//
// # Testing
//
// The tests have a world of cores with real state in virtual time, whose links
// lose, repeat and delay (world_test.go). It fails when a core has two messages in
// flight in one lane, or asks for a tick that is due at once again.
package replication
