package op

import "context"

// Caller is who asked, for logs, events and the reasons kept with them.
type Caller struct {
	Via  string `json:"via"`            // rest, rpc, websocket, tcp, node
	Addr string `json:"addr,omitempty"` // of the client
	Node string `json:"node,omitempty"` // the node that was asked first
}

// String says it in a few words: "rest client 127.0.0.1:5312 at n2".
func (c Caller) String() string {
	s := c.Via + " client"
	if c.Addr != "" {
		s += " " + c.Addr
	}
	if c.Node != "" {
		s += " at " + c.Node
	}
	return s
}

type callerKey struct{}

// CallerFrom returns who asked for the operation that runs in this context.
func CallerFrom(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
