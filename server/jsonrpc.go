package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
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
	answer := rpc.Answer(c.Request().Context(), body, s.cfg.MaxBody, func(ctx context.Context, method string, params json.RawMessage) (any, error) {
		return s.cfg.Table.Invoke(ctx, op.Request{Method: method, Params: params, Caller: by})
	}, s.cfg.Log)
	if answer == nil {
		return c.NoContent(http.StatusNoContent)
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, answer)
}

// webSocket serves JSON-RPC on a WebSocket, one message a text.
func (s *Server) webSocket(c echo.Context) error {
	if c.Request().Header.Get(echo.HeaderUpgrade) == "" || isHead(c.Request()) {
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
	conn := rpc.StartMessages(ctx, mc, newClients(s.cfg.Table, "websocket", func(*rpc.Conn, *client) error { return nil }), rpc.Config{MaxMessage: s.cfg.MaxBody, Log: s.cfg.Log})
	reason := conn.Wait()
	s.cfg.Log.Debug("WebSocket ended", "from", c.Request().RemoteAddr, "why", reason)
	return nil
}

// socket is a WebSocket as rpc wants it.
type socket struct {
	ws  *websocket.Conn
	ctx context.Context
}

// ReadMessage waits for a message for ever, and for its end for a while.
func (s *socket) ReadMessage() ([]byte, error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	_, r, err := s.ws.Reader(ctx)
	if err != nil {
		return nil, err
	}
	defer time.AfterFunc(bodyTimeout, cancel).Stop()
	return io.ReadAll(r)
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
