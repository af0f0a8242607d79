package server

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/rpc"
)

// postRPC answers one JSON-RPC body.
func (s *Server) postRPC(c echo.Context) error {
	if err := isJSON(c); err != nil {
		return err
	}
	body, err := s.readBody(c)
	if err != nil {
		return err
	}
	by := caller(c, "rpc")
	answer := rpc.Answer(c.Request().Context(), body, func(ctx context.Context, method string, params json.RawMessage) (any, error) {
		return s.cfg.Table.Invoke(ctx, op.Request{Method: method, Params: params, Caller: by})
	}, s.cfg.Log)
	if answer == nil {
		return c.NoContent(http.StatusNoContent)
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, answer)
}

// webSocket serves JSON-RPC on a WebSocket, one message a text.
func (s *Server) webSocket(c echo.Context) error {
	if c.Request().Header.Get(echo.HeaderUpgrade) == "" {
		return errs.New(errs.InvalidRequest, "GET /rpc opens a WebSocket; to call once, POST to /rpc")
	}
	// Host and Origin were checked by the guard, or the token was shown.
	ws, err := websocket.Accept(c.Response(), c.Request(), &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil //nolint:nilerr // Accept has answered
	}
	s.wg.Add(1)
	defer s.wg.Done()
	ws.SetReadLimit(int64(s.cfg.MaxBody) + 1) // one more, so that the connection can say why it ends
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	mc := &socket{ws: ws, ctx: ctx}
	conn := rpc.StartMessages(ctx, mc, ClientHandler(s.cfg.Table, "websocket", nil), rpc.Config{MaxMessage: s.cfg.MaxBody, Log: s.cfg.Log})
	reason := conn.Wait()
	s.cfg.Log.Debug("WebSocket ended", "from", c.Request().RemoteAddr, "why", reason)
	return nil
}

// socket is a WebSocket as rpc wants it.
type socket struct {
	ws  *websocket.Conn
	ctx context.Context
}

func (s *socket) ReadMessage() ([]byte, error) {
	_, message, err := s.ws.Read(s.ctx)
	return message, err
}

func (s *socket) WriteMessage(message []byte, deadline time.Time) error {
	// Not the connection's own context: what is queued when it ends is still sent.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(s.ctx), deadline)
	defer cancel()
	return s.ws.Write(ctx, websocket.MessageText, message)
}

func (s *socket) Close() error {
	_ = s.ws.Close(websocket.StatusGoingAway, "the connection ends") // a courtesy; the peer may be gone
	return s.ws.CloseNow()
}

// loginMethod is how a client on a plain connection shows its token.
const loginMethod = "session.login"

// clients answers JSON-RPC clients on connections that stay.
type clients struct {
	table *op.Table
	via   string
	token []byte

	mu    sync.Mutex
	conns map[*rpc.Conn]*client
}

// client is one of them.
type client struct {
	subscriptions *op.Subscriptions
	loggedIn      bool
}

// ClientHandler answers the operations of the table on connections that stay,
// each with subscriptions of its own. With a token, the first request of each
// must be session.login {"token": …}.
func ClientHandler(table *op.Table, via string, token []byte) rpc.Handler {
	return &clients{table: table, via: via, token: token, conns: map[*rpc.Conn]*client{}}
}

// Handle runs an operation.
func (h *clients) Handle(ctx context.Context, conn *rpc.Conn, method string, params json.RawMessage) (any, error) {
	c := h.client(conn)
	if method == loginMethod {
		return h.login(c, params)
	}
	h.mu.Lock()
	allowed := len(h.token) == 0 || c.loggedIn
	h.mu.Unlock()
	if !allowed {
		return nil, errs.New(errs.Unauthorized, "this node wants a token: call %s with {\"token\": …} first", loginMethod)
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
		c = &client{subscriptions: op.NewSubscriptions(h.table, conn.Notify)}
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

func (h *clients) login(c *client, params json.RawMessage) (any, error) {
	var p struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, errs.BadParam("token", "must be a string")
	}
	if len(h.token) > 0 && !sameToken(p.Token, h.token) {
		return nil, errs.New(errs.Unauthorized, "wrong token")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c.loggedIn = true
	return map[string]bool{"ok": true}, nil
}
