// Package rpc gives symmetric JSON-RPC 2.0 connections: both sides may call,
// notify and answer, over TCP, WebSocket or in memory.
//
// # Usage
//
//	nc, err := rpc.TCP{}.Dial(ctx, "127.0.0.1:4100")
//	conn := rpc.Start(ctx, nc, handler, rpc.Config{})
//	var pong Pong
//	err = conn.Call(ctx, "node.ping", Ping{}, &pong)
//	conn.Close(nil)
//	reason := conn.Wait()
//
// Nodes open a connection with a handshake, [Greet] on one side and a [Doorman]
// on the other, that proves in both directions who knows the cluster's secret.
// [Answer] answers one body as it comes over HTTP POST.
//
// # Guarantees
//
//   - The whole of the specification (https://www.jsonrpc.org/specification):
//     batches of up to 1000, notifications, every standard error, ids of any
//     allowed form. The answers to a batch come in the order of its requests.
//   - A caller never waits beyond its context, whatever the peer does: what is to
//     be sent is queued. What does not fit the queue is refused with
//     rate_limited, which is definite, and the connection lives on; small
//     messages have a reserve. Only a peer that reads nothing at all for
//     Config.WriteTimeout is given up.
//   - An answer is never lost: it waits for room, holding its worker. An inline
//     one, or a small one, may use the reserve, since the reading should go on.
//   - The peer's bytes never end the process: messages, batches, their answers,
//     and what the requests under way hold are bounded; a message that has begun
//     must end in time; until [Conn.Trust] a lower bound applies; a panic of a
//     handler is an answer of kind internal.
//   - Methods named by Config.Inline or an [Inliner] are handled in the order in
//     which they came, and take effect before the next message is looked at; the
//     others run on a bounded number of goroutines, beyond which a request is
//     refused at once. A burst leaves no goroutines behind.
//   - A call whose context ends tells the peer, whose handler's context ends.
//   - Where Config.Linger says so, a peer that has closed its sending side gets
//     the answers to what it asked. A peer whose death matters must not be waited
//     for: see [Conn.EndAtEOF].
//   - When [Conn.Wait] has returned, nothing the connection started is left.
//   - A call that fails with node_unavailable, rate_limited of this side, or
//     too_large of this side was not sent; with connection_lost, timeout or
//     cancelled it may have been done.
//
// # What callers owe
//
// A handler must return when its context ends. An inline handler must be quick
// and must not call back on the connection, which reads nothing meanwhile. Who
// streams notifications uses [Conn.NotifyWait], which goes at the peer's pace.
//
// # How it uses sourcegraph/jsonrpc2
//
// The library reads, and matches this side's calls with their answers. It is
// shown only envelopes: payloads and the peer's ids pass beside it, so that each
// byte is validated once and copied once, and so do answers to the peer, for
// which the library would hold a lock. Messages are framed by lines, one JSON
// text each.
//
// # Debugging
//
// The reason why a connection ended is what Wait returns; [Conn.Stats] shows
// what waits, and whether the peer has said anything at all. [Conn.Refuse] tells
// the peer the reason before it closes.
//
// # Testing
//
// [Memory] is a network that can be cut and works in a testing/synctest bubble.
// The conversations of the specification are a table in spec_test.go.
package rpc
