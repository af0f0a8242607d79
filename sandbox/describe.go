package sandbox

import (
	"fmt"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/memdb"
)

// describe says in words how a process ended.
func describe(exit *memdb.Exit) string {
	if exit == nil {
		return "not known"
	}
	text := fmt.Sprintf("exit code %d", exit.Code)
	switch {
	case exit.Cause == memdb.CauseStartFailed:
		return "could not be started: " + exit.Detail
	case exit.Cause == memdb.CauseLost:
		text = "lost"
	case exit.Cause == memdb.CauseStuck:
		text = "stuck"
	case exit.Signal != "":
		text = "ended by " + exit.Signal
	}
	if exit.By != "" {
		text += ", " + exit.By
	}
	if exit.Detail != "" {
		text += " (" + exit.Detail + ")"
	}
	return text
}

// maxWhy bounds a reason, which travels to all nodes, in bytes.
const maxWhy = 2 << 10

// brief cuts a reason that is too long.
func brief(why string) string {
	if len(why) <= maxWhy {
		return why
	}
	return strings.ToValidUTF8(why[:maxWhy], "") + " …"
}

// stamp writes a time as the API does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
