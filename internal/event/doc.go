// Package event keeps a node's history of what happened in the cluster, and,
// in a log of its own, of the messages that were published to topics.
//
// # Usage
//
//	log := event.NewLog("n1", incarnation, 10_000, time.Now)
//	log.Publish(event.Event{Type: "SandboxCreated", Subject: "shop"}) // told to all nodes
//	log.Observe(event.Event{Type: "MemberFailed", Subject: "n2"})     // this node's own view
//	log.Receive("n3", 7, 0, raw)                                      // told by n3
//	page, err := log.Read(ctx, after, event.Filter{}, 100, true)
//
//	topics := event.NewMessages("n1", incarnation, time.Now)
//	topics.Publish(event.Event{Type: event.Message, Subject: "shop/orders", Data: message})
//
// # Guarantees
//
// An event has one origin, the node that saw it, and a number in the origin's
// incarnation. A node's log shows its own view of the membership and
// everybody's sandbox, process and name events, in the order in which this
// node learned of them, and an origin's events in the origin's order. The id of
// an event in a log grows and is never used again, so it is also the place to
// resume at. What a reader or a node missed is told by an explicit event of
// type Gap: no history is silently incomplete.
//
// The log is bounded; a reader can never slow it. A reader of one topic that was
// too slow is told how many messages of all topics went by meanwhile: which of
// them were its own nobody knows any more.
//
// # Debugging
//
// The why of a Gap says what was missed and why: the history was too short, or
// the id is of another node or of an earlier start of this one.
package event
