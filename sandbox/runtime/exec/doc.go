// Package exec is the sandbox runtime that starts real programs on this
// machine, confines them as package isolation decides, and leaves none behind.
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
// All programs are children of the guardian, a helper process of the same binary
// that is started with the first program, below another one, its keeper. Whatever
// dies, any two of node, guardian and keeper in the same instant, no program is left:
//
//   - A program ends: what it started and left behind is killed before its end
//     is reported.
//   - The node dies, in whatever way: the guardian sees it, kills everything and
//     exits. The keeper sees it too, and does it if the guardian does not.
//   - The guardian dies: its programs fall to the keeper, which kills them; the node
//     reports them as lost and starts another guardian.
//   - The keeper dies: the guardian kills everything and exits, with the same end.
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
// When all three are killed in the same instant, what programs had started is left
// (not the programs: they die with the guardian), and is killed when the node comes
// back. When guardian and keeper are, a process that has left its session, its
// environment and its brand (see brand.go) escapes the node's sweep. A guardian
// that is frozen answers nothing; at the end of Run it is killed after 10 s.
//
// # Debugging
//
// The keeper is `glassbox guardian` in ps, child of its node; the guardian is
// `glassbox guardian kept`, child of its keeper; ps -o comm tells glassbox-keeper and
// glassbox-guard. What they have to say is in the node's log. Every process of a program has GLASSBOX_PID in its
// environment, unless it took it out.
//
// # Testing
//
// Who belongs to which tree is decided by pure code over a table of processes. The
// rest is tested with real programs and the test binary as guardian.
//
// See DESIGN.md for the protocol and for who is swept how.
package exec
