package rpc

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// Transport makes connections: [TCP] in production, [Memory] in tests.
type Transport interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// TCP is the network.
type TCP struct{}

// Listen listens on host:port.
func (TCP) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

// keepAlive finds dead connections that nobody writes to.
const keepAlive = 15 * time.Second

// Dial connects to host:port, resolving the name anew each time.
func (TCP) Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: keepAlive}
	return d.DialContext(ctx, "tcp", addr)
}

// Refused reports whether a dial failed because nobody listens there: the
// machine answered, the process is not there. A time-out, no route, or a reset
// say less and are no refusals.
func Refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
