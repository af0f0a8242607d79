// Package peercred tells at the door who connects from this machine, as SO_PEERCRED
// does for Unix sockets, and turns away the users that sandboxes are given.
//
//	l = peercred.Refuse(l, first, count, log)
//
// A node trusts what comes from its own machine, and confined programs are there too.
// Landlock closes the ports of nodes to them that were known when the first program
// was started; this closes those of all nodes on the machine, also of one that is
// started later, on all kernels, because the nodes themselves look.
//
// Guarantees: no connection comes through that a socket of a refused user has made.
// One that is not held by a process any more, when it is looked for, may have been
// anybody's, so it does not come through either: who says something and hangs up at
// once is not heard. Connections from other machines cost a look at the interfaces'
// addresses, those from this one a look at the table of its sockets.
//
// Limits: where that table cannot be read all come in, which is logged once. A
// service of another user that passes on whatever it is sent is not seen through.
package peercred
