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
// has ended, open streams and WebSockets included. A slow client holds nothing
// but its own goroutine.
//
// Without a token only programs on this machine are served, and Host and Origin
// are checked, so that no web page can get at the API through a browser. With
// one every request must show it.
//
// # Debugging
//
// Requests are logged at level debug, without their query.
package server
