//go:build sabotage

package operations

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// A binary built with the tag sabotage has a fault in node.ping, which the
// variable GLASSBOX_SABOTAGE picks: the harness must find each.

var (
	pings  atomic.Int64
	leaked = make(chan []byte, 1<<20)
)

// sabotage fails every tenth ping, leaks memory with each, or ends the process
// by a panic at the hundredth.
func sabotage() error {
	n := pings.Add(1)
	switch os.Getenv("GLASSBOX_SABOTAGE") {
	case "fail":
		if n%10 == 0 {
			return errs.New(errs.Internal, "sabotage")
		}
	case "leak":
		page := make([]byte, 512<<10)
		for i := range page {
			page[i] = byte(n)
		}
		leaked <- page
	case "panic":
		if n == 100 {
			go func() { panic("sabotage") }()
			time.Sleep(time.Second)
		}
	}
	return nil
}
