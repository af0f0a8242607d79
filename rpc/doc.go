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
//     batches, notifications, every standard error, ids of any allowed form.
//   - A caller never waits beyond its context, whatever the peer does: what is to
//     be sent is queued, the queue and each write are bounded, and a peer that
//     does not read is given up.
//   - The peer's bytes never end the process: messages are bounded before they
//     are held, a panic of a handler is an answer of kind internal.
//   - Methods named by Config.Inline are handled in the order in which they
//     came; the others on a bounded number of goroutines, beyond which a request
//     is refused at once.
//   - A call whose context ends tells the peer, whose handler's context ends.
//   - When [Conn.Wait] has returned, nothing the connection started is left.
//   - A call that fails with node_unavailable was not sent; with
//     connection_lost, timeout or cancelled it may have been done.
//
// # What callers owe
//
// A handler must return when its context ends. An inline handler must be quick
// and must not call back on the connection, which reads nothing meanwhile.
//
// # How it uses sourcegraph/jsonrpc2
//
// The library matches calls and answers, and is shown only envelopes: payloads
// and the peer's ids pass beside it, so that each byte is validated once and
// copied once. Messages are framed by lines, one JSON text each.
//
// # Debugging
//
// The reason why a connection ended is what Wait returns; [Conn.Stats] shows
// what waits.
//
// # Testing
//
// [Memory] is a network that can be cut and works in a testing/synctest bubble.
// The conversations of the specification are a table in spec_test.go.
package rpc
