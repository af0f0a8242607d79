// Package sandbox runs this node's sandboxes: supervision trees of real
// processes.
//
// # Usage
//
//	m := sandbox.NewManager(sandbox.Config{Node: "n1", Runtime: rt, Store: rows, …})
//	go m.Run(ctx)
//	spec, err := sandbox.Parse(raw)      // every fault at once
//	row, err := m.Create(ctx, spec, sandbox.WaitRunning)
//	err = m.Destroy(ctx, row.ID, "ann")  // returns when nothing of it is left
//
// # Guarantees
//
// A process id is never used again: every start of a child is a new process in
// the same slot. [Manager.Destroy] returns nil only when the runtime has proven
// that no process of the tree is left. [Manager.Run] returns only then too. A
// sandbox that fails says why and stays visible until it is destroyed. Nothing a
// program prints can block it or make the node grow: see [Log].
//
// # What callers owe
//
// A [Runtime] that outlives Run, and a [Store] that does not block for long. The
// event hook is called without locks, in the order of what happened to one
// sandbox, and must not block.
//
// # Debugging
//
// Every row and every event carries its why. A slot's log has lines of the
// system between those of the program: when it started, how it ended.
//
// # Testing
//
// The manager runs on a fake [Runtime] in virtual time; with real programs in
// package exec.
package sandbox
