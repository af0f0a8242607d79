package exec

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/memdb"
)

// A process that waits for a device or a file server (state D) cannot be killed
// until that answers. Its supervisor and whoever destroys the sandbox do not wait
// for ever: after stuckTime the guardian tells what is left, and goes on killing.

// tellStuck tells, once, that a tree does not die.
func (g *guardian) tellStuck(t *guarded, left []victim) {
	switch {
	case t.since.IsZero():
		t.since = time.Now()
	case !t.stuck && time.Since(t.since) >= stuckTime:
		t.stuck = true
		g.tell(message{Op: opStuck, ID: t.id, Error: leftText(left)})
	}
}

// leftText names what is left, as far as it is of use.
func leftText(left []victim) string {
	const enough = 4
	var names []string
	for _, v := range left[:min(len(left), enough)] {
		names = append(names, fmt.Sprintf("%v in state %c", v.proc, v.state))
	}
	text := strings.Join(names, ", ")
	if more := len(left) - enough; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// stuckExit is the end of a process that does not end.
func stuckExit(m message) memdb.Exit {
	return memdb.Exit{
		Cause: memdb.CauseStuck, Code: 128 + int(unix.SIGKILL), Signal: unix.SignalName(unix.SIGKILL),
		Detail: fmt.Sprintf("%v after it was killed there is still %s: find out what it waits for (state D: a device or a file server)", stuckTime, m.Error),
	}
}
