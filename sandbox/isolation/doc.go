// Package isolation decides how a program is confined: given what works on this
// machine and what a task wants, it says at which level it runs, what holds it,
// what is missing, and the command line, filter and limits for it; or why it
// cannot be run so.
//
// # Usage
//
//	plan, err := isolation.Decide(machine, isolation.Want{Level: "auto", Network: "host"})
//	args := isolation.Bubblewrap(system, plan, …) // at the level "namespaces"
//
// # Guarantees
//
// Nothing here touches a process: all of it is a function of its arguments,
// except [FindSystem], which looks at the folders of the root.
//
// # What callers owe
//
// A [Machine] is to be filled by trying the primitives, not by asking for
// versions: containers and security modules refuse what kernels have.
//
// # Testing
//
// Tables and properties over machines and wants; that the plans hold real
// programs is tested where they are carried out, in package exec.
package isolation
