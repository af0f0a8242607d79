// Package fault breaks this node's links to its peers on purpose, to try what
// the cluster does then: without root, on running nodes, and never for longer
// than it was told to.
//
// # Usage
//
//	t := fault.New(publish)
//	defer t.Close()
//	nc, err := t.Dial(ctx, "n2", dial)       // in place of dial(ctx)
//	nc, identify := t.Accept(nc)             // in place of nc
//	rule, err := t.Add(fault.Rule{Kind: fault.Cut, Peer: "n2", Direction: fault.Both}, 10*time.Second)
//	t.HealWhere(func(r fault.Rule) bool { return r.ID == rule.ID }, "by hand")
//
// # Guarantees
//
// A fault is of this node: it holds what this node sends to the peer (out),
// what comes from the peer (in), or both. What is cut is held, as TCP holds
// it, and goes on when the fault is over: nothing is lost within a connection,
// nor is its order changed. The end of a connection is held as well, since a
// cut network tells nobody of it. Dials hang while either direction is cut.
//
// Every fault has a time to live, after which it heals by itself. A connection
// to a peer that has no fault costs one look at a table for each read and write.
//
// # What callers owe
//
// An accepted connection belongs to nobody until identify was called with the
// peer's name; until then no fault touches it.
package fault
