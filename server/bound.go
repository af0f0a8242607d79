package server

import (
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// bound gives a request's body and its answer their time. The body's is also
// that of bodies nobody asks for, which net/http reads before it answers.
func bound(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		rc := http.NewResponseController(c.Response())
		if c.Request().ContentLength != 0 {
			if err := rc.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
				return err
			}
		}
		c.Response().Before(func() {
			_ = rc.SetWriteDeadline(time.Now().Add(answerTimeout)) // if this fails, so will the answer
		})
		return next(c)
	}
}

// bodyRead lifts the bound on the body: the client may now wait for its answer
// as long as that takes, and net/http watches whether it is still there.
func bodyRead(c echo.Context) error {
	return http.NewResponseController(c.Response()).SetReadDeadline(time.Time{})
}

// forgetDeadline makes what net/http itself says to the next request, like 100
// Continue, independent of when the last answer had to be read.
func forgetDeadline(nc net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		_ = nc.SetWriteDeadline(time.Time{}) // if this fails, the connection is gone
	}
}
