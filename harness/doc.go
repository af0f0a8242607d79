// Package harness starts real clusters of Glassbox nodes and breaks them, to
// measure what they promise.
//
// # Usage
//
//	c, err := harness.Start(ctx, harness.Options{Binary: "bin/glassbox", Nodes: 3, Dir: t.TempDir()})
//	defer c.Stop()
//	formed, err := c.WaitFormed(ctx)
//	watch := c.Watch(ctx, "n1")
//	c.Node("n2").Kill()
//	seen, err := watch.Wait(ctx, func(e harness.Event) bool { return e.Type == "MemberFailed" })
//
// # Guarantees
//
// Every node is a process of the operating system, on loopback ports that were
// free, with its log in a file of Options.Dir. Stop ends them all, by pid, and
// whatever the harness is doing the nodes end with it: they are killed by the
// kernel when the harness's process dies.
//
// Times are of one clock, the harness's own.
//
// # Debugging
//
// The nodes' logs are <name>.log in Options.Dir.
package harness
