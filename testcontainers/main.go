package testcontainers

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// requireVariable turns every skip for want of something into a failure.
const requireVariable = "GLASSBOX_REQUIRE"

// Available says why no cluster can be started here: nil if one can. It connects
// to the engine, once, which takes 10 s at most.
func Available() error {
	_, err := theEngine()
	return err
}

// Need skips a test where there is no engine and says why; with GLASSBOX_REQUIRE
// set it fails. It also fails where there is an engine but no cluster can be
// started, as without [Main].
func Need(t testing.TB) {
	t.Helper()
	switch err := Available(); {
	case err == nil:
	case !errors.Is(err, errNoEngine):
		t.Fatal(err)
	case os.Getenv(requireVariable) != "":
		t.Fatalf("%s; %s is set", err, requireVariable)
	default:
		t.Skip(err)
	}
}

// Runner is what [Main] runs: a *testing.M, or what wraps one.
type Runner interface{ Run() int }

// Main runs a package's tests and ends the process; call it in TestMain, first
// thing:
//
//	func TestMain(m *testing.M) { testcontainers.Main(m) }
//
// It calls [Reap]. The engine is looked for when a test asks for one: those that
// [Need] it skip where there is none. In the end Main removes what they left, and
// fails if it cannot.
func Main(m Runner) {
	Reap()
	code := m.Run()
	left, err := cleanUp()
	if left > 0 {
		fmt.Fprintf(os.Stderr, "testcontainers: removed %d containers and networks that the tests left; close your clusters\n", left)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "testcontainers: clean up: %s\n", err)
		code = max(code, 1)
	}
	os.Exit(code)
}
