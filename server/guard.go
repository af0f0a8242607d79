package server

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// guard lets in whom it may. /livez and /readyz are open to all.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
			return next(c)
		}
		check := checkLocal
		if len(s.cfg.Token) > 0 {
			check = s.checkToken
		}
		if err := check(r); err != nil {
			return err
		}
		return next(c)
	}
}

// checkToken compares the token in constant time. A WebSocket of a browser
// cannot set headers, so there it may be in the query.
func (s *Server) checkToken(r *http.Request) error {
	scheme, token, _ := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
	token = strings.TrimLeft(token, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"): // RFC 9110, section 11.1
	case r.URL.Path == "/rpc" && r.Method == http.MethodGet:
		token = r.URL.Query().Get("access_token")
	default:
		token = ""
	}
	if !sameToken(token, s.cfg.Token) {
		return errs.New(errs.Unauthorized, "this node wants a token: send the header \"Authorization: Bearer …\" (glassbox: --token-file)")
	}
	return nil
}

func sameToken(token string, want []byte) bool {
	return subtle.ConstantTimeCompare([]byte(token), want) == 1
}

// checkLocal refuses requests that did not mean this machine. A web page that
// makes its own name point here (DNS rebinding) shows by its Host, one that
// posts across sites by its Origin.
func checkLocal(r *http.Request) error {
	if r.Host == "" { // HTTP/1.0 may
		return errs.New(errs.Forbidden, "the request does not say which host it means; send \"Host: 127.0.0.1\", as HTTP/1.1 does, or start the node with --token-file")
	}
	if !isLoopback(hostOf(r.Host)) {
		return errs.New(errs.Forbidden, "without a token this node answers to localhost only, not to %q; "+
			"use 127.0.0.1, or start it with --token-file", r.Host)
	}
	if origin := r.Header.Get(echo.HeaderOrigin); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !isLoopback(u.Hostname()) {
			return errs.New(errs.Forbidden, "a page of %q may not use this node; open it from localhost, or start the node with --token-file", origin)
		}
	}
	return nil
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// isLoopback knows addresses, and the one name that means nothing else (RFC 6761,
// section 6.3), in any case and with the root's dot.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") || ip != nil && ip.IsLoopback()
}
