package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
)

// Config is what a [Server] serves.
type Config struct {
	Table *op.Table
	// Token must be shown by every client; empty: loopback clients need none.
	Token []byte
	// MaxBody bounds a request's body and a WebSocket message, in bytes.
	MaxBody int
	// Ready says whether the node has joined; if not, what it waits for.
	Ready func() (ok bool, waitsFor []string)
	// Info is what the documents say of this program.
	Info op.Info
	Log  *slog.Logger
}

// Bounds on what a slow client can hold. Those of a stream's events are in
// sse.go.
const (
	readHeaderTimeout = 5 * time.Second
	bodyTimeout       = 30 * time.Second // for the whole body, or a whole WebSocket message
	answerTimeout     = 30 * time.Second // for the whole answer
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	closeGrace        = time.Second // for requests under way when the server ends
)

// Server is the HTTP side of a node. Make it with [New].
type Server struct {
	cfg  Config
	echo *echo.Echo
	wg   sync.WaitGroup // WebSockets, which net/http does not wait for
}

// New makes a server; it starts nothing.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, echo: echo.New()}
	e := s.echo
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect() // X-Forwarded-For is anybody's word
	e.HTTPErrorHandler = s.fail
	e.Pre(s.log, s.recover, bound)
	e.Use(s.guard)
	e.GET("/", s.index)
	e.GET("/livez", s.livez)
	e.GET("/readyz", s.readyz)
	e.GET("/openapi.json", document(func() ([]byte, error) { return cfg.Table.OpenAPI(cfg.Info) }))
	e.GET("/openrpc.json", document(func() ([]byte, error) { return cfg.Table.OpenRPC(cfg.Info) }))
	e.POST("/rpc", s.postRPC)
	e.GET("/rpc", s.webSocket)
	for _, o := range cfg.Table.Ops() {
		s.route(o)
	}
	return s
}

// Serve serves until ctx ends and returns when everything it started has ended.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hs := &http.Server{
		Handler: http.HandlerFunc(s.serveHTTP), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0), // what clients do wrong on the wire is theirs
	}
	ended := make(chan error, 1)
	go func() { ended <- hs.Serve(l) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		cancel() // ends the streams, which would otherwise be waited for
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		if hs.Shutdown(grace) != nil {
			err = hs.Close()
		}
		done()
		err = errors.Join(err, <-ended)
	}
	cancel()
	s.wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// serveHTTP answers HEAD as GET, the body of which net/http leaves out: it has
// the original request.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		r = r.WithContext(context.WithValue(r.Context(), headKey{}, true))
		r.Method = http.MethodGet
	}
	s.echo.ServeHTTP(w, r)
}

type headKey struct{}

// isHead says of a request that seems to be a GET that it is a HEAD.
func isHead(r *http.Request) bool { return r.Context().Value(headKey{}) != nil }

// log notes each request.
func (s *Server) log(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		started := time.Now()
		err := next(c)
		if err != nil {
			c.Error(err)
		}
		if !s.cfg.Log.Enabled(c.Request().Context(), slog.LevelDebug) {
			return nil
		}
		s.cfg.Log.Debug("request", "method", c.Request().Method, "path", c.Request().URL.Path,
			"status", c.Response().Status, "took", time.Since(started), "from", c.Request().RemoteAddr)
		return nil
	}
}

// recover turns a panic into an error of kind internal.
func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if r := recover(); r != nil {
				s.cfg.Log.Error("request panicked", "path", c.Request().URL.Path, "panic", r)
				err = errs.New(errs.Internal, "the request failed inside Glassbox: %v", r)
			}
		}()
		return next(c)
	}
}

func (s *Server) index(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{
		"rest": op.APIPrefix, "json_rpc": "/rpc", "events": op.APIPrefix + "/events/stream",
		"openapi": "/openapi.json", "openrpc": "/openrpc.json", "live": "/livez", "ready": "/readyz",
	})
}

func (s *Server) livez(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]bool{"live": true})
}

func (s *Server) readyz(c echo.Context) error {
	if ok, waitsFor := s.cfg.Ready(); !ok {
		return errs.New(errs.NotReady, "this node has not joined the cluster yet").WithWhy("%v", waitsFor)
	}
	return c.JSON(http.StatusOK, map[string]bool{"ready": true})
}

func document(make func() ([]byte, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		raw, err := make()
		if err != nil {
			return errs.Wrap(errs.Internal, err, "the document cannot be made")
		}
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, raw)
	}
}
