// Package registry decides who holds which name, among nodes of which each
// writes its own claims only.
//
// # Guarantees
//
// While no member is dead, joining or unknown: writes and consistent lookups are
// linearizable per name, a name has one holder, and what a register or unregister
// that returned did is seen by every later lookup on every node. A lookup that is
// not consistent may lag behind a write in flight, never behind one that
// returned, and never goes back in time on one node.
//
// Across a partition both sides may claim a name. When they see each other again
// the rule of [memdb.Better] picks the same winner everywhere; the loser
// withdraws only when the winner's own node has said that it holds the name, and
// tells of it with NameConflict. Never both lose, never both stay.
//
// # How
//
// DESIGN.md tells the protocol, with the failure that explains each odd branch.
//
// # What callers owe
//
// Names and values are checked with [ValidName] and [ValidValue] before they
// come here. What [Core.Take] returns is carried out in its order.
package registry
