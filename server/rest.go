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
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/rpc"
)

// restParams are the path parameters that, where they are the last, take the
// rest of the path, slashes included.
var restParams = []string{"name", "topic"}

// route serves an operation at its REST path.
func (s *Server) route(o *op.Op) {
	path := op.APIPrefix + o.Path
	if begin, last, ok := cutLast(path, "/:"); ok && slices.Contains(restParams, last) {
		path = begin + "/*"
	}
	inPath := o.PathParams()
	s.echo.Add(o.Method, path, func(c echo.Context) error {
		params, err := s.params(o, inPath, c)
		if err != nil {
			return err
		}
		if wantsStream(o, c.Request(), params) {
			return s.stream(o, c, params)
		}
		return s.call(o, c, params)
	})
}

// cutLast cuts a text around the last separator.
func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

func caller(c echo.Context, via string) op.Caller {
	return op.Caller{Via: via, Addr: c.Request().RemoteAddr}
}

func (s *Server) call(o *op.Op, c echo.Context, params map[string]json.RawMessage) error {
	result, err := s.cfg.Table.Invoke(c.Request().Context(), op.Request{Method: o.Name, Members: params, Caller: caller(c, "rest")})
	if err != nil {
		return err
	}
	status := o.SuccessStatus()
	switch {
	case string(result) == "null":
		return c.NoContent(http.StatusNoContent)
	case status == http.StatusNoContent:
		status = http.StatusOK
	case status == http.StatusCreated && wasThere(result):
		status = http.StatusOK
	case status == http.StatusCreated:
		setLocation(c, result)
	}
	// As Blob would, without making the header's value anew for each answer.
	c.Response().Header()[echo.HeaderContentType] = typeJSON
	c.Response().WriteHeader(status)
	_, err = c.Response().Write(result)
	return err
}

// typeJSON is a header's value; net/http copies it.
var typeJSON = []string{echo.MIMEApplicationJSON}

// wasThere reports whether a result says that nothing was created.
func wasThere(result json.RawMessage) bool {
	var r struct {
		Created json.RawMessage `json:"created"`
	}
	return json.Unmarshal(result, &r) == nil && string(r.Created) == "false"
}

// setLocation tells where what was created can be found: under its id or, if it
// has none, where it was put.
func setLocation(c echo.Context, result json.RawMessage) {
	var created struct {
		ID string `json:"id"`
	}
	at := c.Request().URL.EscapedPath()
	switch {
	case json.Unmarshal(result, &created) == nil && created.ID != "":
		at += "/" + url.PathEscape(created.ID)
	case c.Request().Method != http.MethodPut:
		return
	}
	c.Response().Header().Set(echo.HeaderLocation, at)
}

// params folds path, query and body into one object. A parameter may be given
// in one place only: nothing overrides anything silently.
func (s *Server) params(o *op.Op, inPath []string, c echo.Context) (map[string]json.RawMessage, error) {
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
	for _, name := range inPath {
		value, err := pathParam(c, name)
		if err != nil {
			return nil, err
		}
		if err := add(name, []string{value}); err != nil {
			return nil, err
		}
	}
	if c.Request().URL.RawQuery == "" {
		return params, nil
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
	if strings.HasSuffix(c.Path(), "/*") && slices.Contains(restParams, name) {
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
	if r := c.Request(); r.Body == http.NoBody && r.Header.Get(echo.HeaderContentEncoding) == "" {
		return map[string]json.RawMessage{}, nil
	}
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
