// Package message holds a conversation with one program: JSON-RPC 2.0, one
// message a line, on its standard input and output, as MCP servers speak it.
//
// # Usage
//
//	conn := message.New(message.Config{Note: log})
//	task.Stdout = conn.Read      // the runtime calls it, it returns at the end of the output
//	proc, err := runtime.Start(ctx, task)
//	conn.Open(proc.Stdin())
//	result, err := conn.Call(ctx, "increment", []byte(`{"n":2}`))
//	err = conn.Notify(ctx, "reset", nil)
//	err = conn.Send(ctx, "anything, as one line")
//
// # Guarantees
//
// Every call has an end: an answer, its context's, or that of the program. The
// error object of an answer comes as an *[Error], as the program wrote it. All
// other errors are those of package errs, and definite where the message was
// certainly not written: see [Conn.Call]. A message is written whole or not at all;
// one whose context ended in the middle of a long one is completed, so that the
// program still finds its lines. Nothing here grows without bound: not a line
// ([MaxLine]), not the messages that wait to be written ([MaxQueue]), not the calls
// that wait for an answer ([MaxInFlight]).
//
// What the program says unasked is told to [Config.Note]: its notifications, and
// whatever is no JSON-RPC 2.0. Its requests too, and they are answered with
// "method not found": there is nothing here that it could ask for. Batches are
// taken for noise: none is ever sent, so none is an answer.
//
// # What callers owe
//
// [Conn.Read] must be run, and Note must not block: the program waits meanwhile.
//
// # Why not a library
//
// Package rpc speaks JSON-RPC through sourcegraph/jsonrpc2, between nodes. Here its
// connection would have to be worked around in all that matters: its Call cannot
// tell whether the request was written, which decides whether an error is
// definite; its send ignores its context, so that a program that does not read
// would hold up everyone; and the first line that is no JSON-RPC, which programs do
// print, ends it. What would remain of it is the counting of ids.
//
// # Testing
//
// The conversation is tested against a program in the test binary, over real
// pipes; the reading of lines is fuzzed.
package message
