// Package exec is the sandbox runtime that starts real programs on this
// machine, without isolation, and leaves none behind.
//
// # Usage
//
//	func main() {
//		if len(os.Args) > 1 && os.Args[1] == "guardian" {
//			os.Exit(exec.GuardianMain())
//		}
//		…
//	}
//
//	rt := exec.New(exec.Config{}, log)
//	go rt.Run(ctx)
//	p, err := rt.Start(ctx, sandbox.Task{PID: "n1.1.1", Exec: []string{"sleep", "60"}})
//
// # Guarantees
//
// All programs are children of the guardian, one helper process of the same
// binary, started with the first program. Whatever dies, no program is left:
//
//   - A program ends: what it started and left behind is killed before its end
//     is reported.
//   - The node dies, in whatever way: the guardian sees its socket close, kills
//     everything below it and exits.
//   - The guardian dies: its programs fall to the node, which kills them, reports
//     them as lost and starts another guardian.
//
// A program's output goes straight to the node through pipes, is always read and
// never kept beyond the bounds of its log: a flood neither blocks the program nor
// grows the node.
//
// # What callers owe
//
// [GuardianMain] must be called before anything else in main. The node becomes a
// child subreaper for good when the guardian is started: orphans of its own other
// children fall to it too. It reaps none but those it knows to be a program's.
//
// # Limits
//
// What the system does not let die is reported as stuck after 30 s; killing it goes
// on. See memdb.CauseStuck.
//
// A guardian and its node that are killed in the same instant leave what their
// programs had started (not the programs: they die with the guardian). A guardian
// that is frozen answers nothing; at the end of Run it is killed after 10 s.
//
// # Debugging
//
// The guardian is `glassbox guardian` in ps, child of its node. What it has to say
// is in the node's log. Every process of a program has GLASSBOX_PID in its
// environment, unless it took it out.
//
// # Testing
//
// Who belongs to which tree is decided by pure code over a table of processes. The
// rest is tested with real programs and the test binary as guardian.
//
// See DESIGN.md for the protocol and for who is swept how.
package exec
