package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/rpc"
)

// route serves an operation at its REST path. A last path parameter called
// name takes the rest of the path, slashes included.
func (s *Server) route(o *op.Op) {
	path := op.APIPrefix + o.Path
	if rest, ok := strings.CutSuffix(path, "/:name"); ok {
		path = rest + "/*"
	}
	s.echo.Add(o.Method, path, func(c echo.Context) error {
		params, err := s.params(o, c)
		if err != nil {
			return err
		}
		if wantsStream(o, c.Request(), params) {
			return s.stream(o, c, params)
		}
		return s.call(o, c, params)
	})
}

func caller(c echo.Context, via string) op.Caller {
	return op.Caller{Via: via, Addr: c.Request().RemoteAddr}
}

func (s *Server) call(o *op.Op, c echo.Context, params map[string]json.RawMessage) error {
	raw, err := jsontext.Marshal(params)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "the parameters cannot be put together")
	}
	result, err := s.cfg.Table.Invoke(c.Request().Context(), op.Request{Method: o.Name, Params: raw, Caller: caller(c, "rest")})
	if err != nil {
		return err
	}
	status := o.SuccessStatus()
	switch {
	case string(result) == "null":
		return c.NoContent(http.StatusNoContent)
	case status == http.StatusNoContent:
		status = http.StatusOK
	case status == http.StatusCreated:
		setLocation(c, result)
	}
	return c.Blob(status, echo.MIMEApplicationJSON, result)
}

// setLocation tells where what was created can be found.
func setLocation(c echo.Context, result json.RawMessage) {
	var created struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(result, &created) == nil && created.ID != "" {
		c.Response().Header().Set(echo.HeaderLocation, c.Request().URL.Path+"/"+url.PathEscape(created.ID))
	}
}

// params folds path, query and body into one object. A parameter may be given
// in one place only: nothing overrides anything silently.
func (s *Server) params(o *op.Op, c echo.Context) (map[string]json.RawMessage, error) {
	params, err := s.body(c)
	if err != nil {
		return nil, err
	}
	add := func(name string, values []string) error {
		if _, twice := params[name]; twice {
			return errs.BadParam(name, "given in more than one of path, query and body; give it once")
		}
		raw, err := o.FromText(name, values)
		params[name] = raw
		return err
	}
	for _, name := range o.PathParams() {
		value, err := pathParam(c, name)
		if err != nil {
			return nil, err
		}
		if err := add(name, []string{value}); err != nil {
			return nil, err
		}
	}
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil { // net/url's own Query would leave out what it cannot read
		return nil, errs.Wrap(errs.BadParameter, err, "the query cannot be read; separate parameters by \"&\" and percent-encode their values")
	}
	for name, values := range query {
		if err := add(name, values); err != nil {
			return nil, err
		}
	}
	return params, nil
}

// pathParam returns a path parameter, percent-decoded exactly once. The router
// matches the escaped path only if that differs from the plain one.
func pathParam(c echo.Context, name string) (string, error) {
	value := c.Param(name)
	if strings.HasSuffix(c.Path(), "/*") && name == "name" {
		value = c.Param("*")
	}
	if c.Request().URL.RawPath == "" {
		return value, nil
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return "", errs.BadParam(name, "%q is not percent-encoded as a path should be", value)
	}
	return decoded, nil
}

// body reads a JSON object; no body is an empty one.
func (s *Server) body(c echo.Context) (map[string]json.RawMessage, error) {
	raw, err := s.readBody(c)
	params := map[string]json.RawMessage{}
	if err != nil || len(bytes.TrimSpace(raw)) == 0 {
		return params, err
	}
	if err := isJSON(c); err != nil {
		return nil, err
	}
	if err := rpc.CheckJSON(raw); err != nil {
		return nil, err
	}
	return op.Members(raw)
}

// readBody reads the whole body, within its bounds.
func (s *Server) readBody(c echo.Context) ([]byte, error) {
	if coding := c.Request().Header.Get(echo.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, errs.New(errs.UnsupportedMedia, "the body must not be encoded as %q; send it as it is", coding)
	}
	raw, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, int64(s.cfg.MaxBody)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errs.New(errs.TooLarge, "the body is longer than the limit of %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errs.New(errs.InvalidRequest, "the body did not come within %s; send it faster, or less at once", bodyTimeout)
	case err != nil:
		return nil, errs.Wrap(errs.InvalidRequest, err, "the body cannot be read")
	}
	return raw, nil
}

// isJSON demands the content type, which no page of another site can send
// without asking first.
func isJSON(c echo.Context) error {
	given := c.Request().Header.Get(echo.HeaderContentType)
	if media, _, err := mime.ParseMediaType(given); err != nil || media != echo.MIMEApplicationJSON {
		return errs.New(errs.UnsupportedMedia, "the body must be application/json, not %q", given)
	}
	return nil
}
