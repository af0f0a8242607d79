package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
)

const problemType = "application/problem+json"

// fail writes an error as a problem document, unless an answer has begun.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := errs.ProblemOf(s.kindly(err, c))
	if p.Status == http.StatusUnauthorized {
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
	}
	raw, marshalErr := jsontext.Marshal(p)
	if marshalErr != nil { // a problem is strings and numbers
		raw = []byte(`{"kind":"internal"}`)
	}
	// If this fails the client is gone.
	_ = c.Blob(p.Status, problemType, raw)
}

// kindly gives the router's own errors their kinds.
func (s *Server) kindly(err error, c echo.Context) error {
	var he *echo.HTTPError
	if !errors.As(err, &he) {
		return err
	}
	path := c.Request().URL.Path
	switch he.Code {
	case http.StatusNotFound:
		return errs.New(errs.NotFound, "there is nothing at %s; /openapi.json lists what there is, below %s", path, op.APIPrefix)
	case http.StatusMethodNotAllowed:
		return errs.New(errs.MethodNotAllowed, "%s does not take %s, only %s", path, c.Request().Method,
			strings.TrimPrefix(c.Response().Header().Get(echo.HeaderAllow), "OPTIONS, "))
	default:
		return errs.New(errs.InvalidRequest, "%s", fmt.Sprint(he.Message))
	}
}
