package sandbox

import (
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// stuckError says of something that was ended that the system does not let it
// end; nil if it has ended.
func stuckError(what string, exit memdb.Exit) error {
	if exit.Cause != memdb.CauseStuck {
		return nil
	}
	return errs.New(errs.Internal, "%s was killed, and the system does not let it end; killing it goes on", what).WithWhy("%s", exit.Detail)
}

// stuck is the error of a tree that was ended and of which something is left.
func (t *tree) stuck() error {
	var stuck error
	t.root.each(func(m member) {
		if row := m.at().current(); stuck == nil && row.Exit != nil && row.Ended() {
			stuck = stuckError("process "+row.PID+" of sandbox \""+t.spec.ID+"\"", *row.Exit)
		}
	})
	return stuck
}
