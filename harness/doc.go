// Package harness starts real clusters of Glassbox nodes and breaks them, to
// measure what they promise.
//
// # Usage
//
//	binary, err := harness.Build(ctx, t.TempDir())
//	c, err := harness.StartProcesses(ctx, harness.ProcessOptions{Binary: binary, Nodes: 3, Dir: t.TempDir()})
//	defer c.Close()
//	_, err = harness.WaitAgreed(ctx, c)
//	watch, err := harness.WatchNode(ctx, c, "n1")
//	defer watch.Close()
//	_, err = c.Kill(ctx, "n2")
//	seen, err := watch.Wait(ctx, func(e harness.Event) bool { return e.Type == "MemberFailed" })
//
// A whole scenario, with its objectives, is run by [Run] with [StartOn]. The same
// in containers is package testcontainers.
//
// # Guarantees
//
// Every node is a process of the operating system, on loopback ports that were
// free, with its log in a file of ProcessOptions.Dir. Close ends them all, by
// pid, and whatever the harness is doing the nodes end with it: they are killed
// by the kernel when the harness's process dies.
//
// Times are of one clock, the harness's own.
//
// # What callers owe
//
// A Close for each cluster. And the node's program: [Build] compiles it with the
// go command from what the caller's module requires, for which that has to have
// it as a tool:
//
//	go get -tool github.com/glassbox-dev/glassbox/cmd/glassbox
//
// # Debugging
//
// The nodes' logs are NAME.log in ProcessOptions.Dir.
package harness
