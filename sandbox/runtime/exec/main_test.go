package exec_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// TestMain makes the test binary the guardian, a node to be killed, or a program
// that tries to escape, when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "guardian":
			os.Exit(exec.GuardianMain())
		case "stand-in-node":
			standInNode()
		case "unruly-node":
			unrulyNode()
		case "attempt":
			os.Exit(attempt(os.Args[2:]))
		}
	}
	goleak.VerifyTestMain(m)
}
