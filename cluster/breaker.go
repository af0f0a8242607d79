package cluster

import (
	"context"
	"net"
)

// Breaker stands between this node and its peers, to break the links to them on
// purpose: package fault is the one there is.
type Breaker interface {
	// Dial connects to a peer by calling dial, unless the link is broken.
	Dial(ctx context.Context, peer string, dial func(context.Context) (net.Conn, error)) (net.Conn, error)
	// Accept takes an accepted connection in. identify is called when the peer
	// has said who it is, and waits while it could not have.
	Accept(nc net.Conn) (conn net.Conn, identify func(ctx context.Context, peer string) error)
}

// whole is the breaker that breaks nothing.
type whole struct{}

func (whole) Dial(ctx context.Context, _ string, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	return dial(ctx)
}

func (whole) Accept(nc net.Conn) (net.Conn, func(context.Context, string) error) {
	return nc, func(context.Context, string) error { return nil }
}
