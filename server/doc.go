// Package server serves the table of operations to people and programs: REST,
// JSON-RPC 2.0 over POST and WebSocket, and event streams, on one HTTP port.
//
// # Usage
//
//	s := server.New(server.Config{Table: table, Ready: ready, Log: log})
//	err := s.Serve(ctx, listener) // until ctx ends
//
// # Guarantees
//
// Whatever it comes in by, a request goes through op.Table.Invoke, and an error
// is the same problem object. Serve returns only when everything it started
// has ended, open streams and WebSockets included.
//
// A slow client holds nothing but its own goroutine, and that not for ever: a
// request's head has 5 seconds to come and its body 30, an answer must be read
// within the next 30 and each event of a stream within 10. A subscriber on a connection
// that stays gets its events at the pace at which it reads.
//
// HEAD is answered as GET, without the body. What cannot be understood is
// refused, never passed over: parameters and members unknown or given twice, a
// query that is malformed, text that is no UTF-8, an encoded body.
//
// Without a token only programs on this machine are served, and Host and Origin
// are checked, so that no web page can get at the API through a browser. With
// one every request must show it.
//
// # Debugging
//
// Requests are logged at level debug, without their query.
package server
