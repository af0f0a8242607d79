package server

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// bound gives a request's body and its answer their time. The body's is also
// that of bodies nobody asks for, which net/http reads before it answers.
// net/http lifts the one bound when the body has come, to watch whether the
// client is there, and the other when the answer is written.
func bound(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		rc := http.NewResponseController(c.Response())
		var bodyBy time.Time
		if c.Request().ContentLength != 0 {
			bodyBy = time.Now().Add(bodyTimeout)
			if err := rc.SetReadDeadline(bodyBy); err != nil {
				return err
			}
		}
		c.Response().Before(func() {
			begun := time.Now()
			if begun.Before(bodyBy) {
				begun = bodyBy // net/http may have to wait for the rest of the body first
			}
			_ = rc.SetWriteDeadline(begun.Add(answerTimeout)) // if this fails, so will the answer
		})
		return next(c)
	}
}
