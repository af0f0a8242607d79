package server

import (
	"context"
	"encoding/json"
	"net"
	"sync"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/rpc"
)

// LoginMethod is how a client on a plain connection shows its token.
const LoginMethod = "session.login"

// clients answers JSON-RPC clients on connections that stay.
type clients struct {
	table *op.Table
	via   string
	token []byte
	// admit says why a client may not run operations, nil if it may.
	admit func(*rpc.Conn, *client) error

	mu    sync.Mutex
	conns map[*rpc.Conn]*client
}

// client is one of them.
type client struct {
	subscriptions *op.Subscriptions
	loggedIn      bool // guarded by clients.mu
}

// ClientHandler answers the operations of the table to clients on the nodes'
// port, each with subscriptions of its own. The rules are those of HTTP: with a
// token, the first request of each client must be session.login {"token": …};
// without one, only clients on this machine are answered.
//
// The handler is an [rpc.Inliner]: a login takes effect before the request
// behind it. It also has a method Trusts(net.Addr) bool: who connects from such
// an address needs no token, so that rpc.Config.FirstMessage need not bound him.
// The others are trusted once they have shown theirs.
func ClientHandler(table *op.Table, token []byte) rpc.Handler {
	h := newClients(table, "tcp", nil)
	h.token, h.admit = token, h.checkClient
	return h
}

// Inline names the methods that must be handled in their order.
func (h *clients) Inline(method string) bool { return method == LoginMethod }

// Trusts says whether clients at an address may do anything without a token.
func (h *clients) Trusts(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return len(h.token) == 0 && ok && tcp.IP.IsLoopback()
}

func newClients(table *op.Table, via string, admit func(*rpc.Conn, *client) error) *clients {
	return &clients{table: table, via: via, admit: admit, conns: map[*rpc.Conn]*client{}}
}

// checkClient is the rule on the nodes' port.
func (h *clients) checkClient(conn *rpc.Conn, c *client) error {
	if len(h.token) == 0 {
		if h.Trusts(conn.RemoteAddr()) {
			return nil
		}
		return errs.New(errs.Forbidden, "without a token this node answers to clients on its own machine only; start it with --token-file")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.loggedIn {
		return nil
	}
	return errs.New(errs.Unauthorized, "this node wants a token: call %s with {\"token\": …} first", LoginMethod)
}

// Handle runs an operation.
func (h *clients) Handle(ctx context.Context, conn *rpc.Conn, method string, params json.RawMessage) (any, error) {
	c := h.client(conn)
	if method == LoginMethod {
		return h.login(conn, c, params)
	}
	if err := h.admit(conn, c); err != nil {
		return nil, err
	}
	by := op.Caller{Via: h.via}
	if addr := conn.RemoteAddr(); addr != nil {
		by.Addr = addr.String()
	}
	return h.table.Invoke(op.WithSubscriptions(ctx, c.subscriptions), op.Request{Method: method, Params: params, Caller: by})
}

// client returns what belongs to a connection, made at its first request and
// closed with it.
func (h *clients) client(conn *rpc.Conn) *client {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.conns[conn]
	if c == nil {
		c = &client{subscriptions: op.NewSubscriptions(h.table, conn.NotifyWait)}
		h.conns[conn] = c
		go func() {
			<-conn.Done()
			c.subscriptions.Close()
			h.mu.Lock()
			defer h.mu.Unlock()
			delete(h.conns, conn)
		}()
	}
	return c
}

func (h *clients) login(conn *rpc.Conn, c *client, params json.RawMessage) (any, error) {
	var p struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, errs.BadParam("token", "must be a string")
	}
	if len(h.token) > 0 && !sameToken(p.Token, h.token) {
		return nil, errs.New(errs.Unauthorized, "wrong token")
	}
	if len(h.token) > 0 {
		conn.Trust()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c.loggedIn = true
	return map[string]bool{"ok": true}, nil
}
