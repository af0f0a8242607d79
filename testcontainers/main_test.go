package testcontainers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/glassbox-dev/glassbox/harness"
)

// With GLASSBOX_FIGURES the figures are asked for their aims, otherwise for what
// holds on a machine that is busy with other tests.
var strict = os.Getenv("GLASSBOX_FIGURES") != ""

func TestMain(m *testing.M) { Main(tests{m}) }

// tests are the tests, after which no goroutine may be left.
type tests struct{ *testing.M }

func (m tests) Run() int {
	code := m.M.Run()
	_ = os.RemoveAll(theBinary.dir) // "" is nothing
	if err := goleak.Find(
		// Connections that are kept for the next request, to nodes and to the engine.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		// The library's Ryuk, where somebody has enabled it, is held until the end.
		goleak.IgnoreAnyFunction("github.com/testcontainers/testcontainers-go.(*Reaper).connect.func1"),
	); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	return code
}

// theBinary is the glassbox under test, built when it is first needed.
var theBinary struct {
	once      sync.Once
	dir, path string
	err       error
}

func binary(t testing.TB) string {
	t.Helper()
	theBinary.once.Do(func() {
		if theBinary.dir, theBinary.err = os.MkdirTemp("", "glassbox-containers-"); theBinary.err == nil {
			theBinary.path, theBinary.err = harness.Build(context.Background(), theBinary.dir)
		}
	})
	require.NoError(t, theBinary.err)
	return theBinary.path
}

// start starts a cluster.
func start(t testing.TB, o Options) *Containers {
	t.Helper()
	Need(t)
	o.Binary = binary(t)
	c, err := Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		if t.Failed() {
			for _, node := range c.Names() {
				log, _ := c.Log(context.Background(), node)
				t.Logf("log of %s:\n%s", node, log)
			}
		}
	})
	return c
}

// formed starts a cluster that has formed, and returns how long that took.
func formed(t testing.TB, o Options) (*Containers, time.Duration) {
	t.Helper()
	c := start(t, o)
	joined, err := harness.WaitJoined(within(t, time.Minute), c)
	require.NoError(t, err)
	last := c.Started()
	for _, at := range joined {
		if at.After(last) {
			last = at
		}
	}
	return c, last.Sub(c.Started())
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// agreed waits until all running nodes see each other.
func agreed(t testing.TB, c *Containers) time.Time {
	t.Helper()
	at, err := harness.WaitAgreed(within(t, time.Minute), c)
	require.NoError(t, err)
	return at
}

// figure prints a measured figure and asks for its aim, or for its floor where
// the machine may be busy.
func figure(t testing.TB, what string, got, aim, floor time.Duration) {
	t.Helper()
	t.Logf("figure: %-52s %12v   aim %v", what, got.Round(100*time.Microsecond), aim)
	bound := floor
	if strict {
		bound = aim
	}
	require.LessOrEqual(t, got, bound, what)
}

// again is this test binary as another process, which runs one test.
func again(test string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v", "-test.timeout=1m")
	cmd.Env = append(append(os.Environ(), asChild+"="+test), env...)
	return cmd
}

// asChild names the test that another process of this binary was started for.
const asChild = "GLASSBOX_TEST_CHILD"

// onlyAsChild skips a test in the process that runs all.
func onlyAsChild(t *testing.T) {
	t.Helper()
	if os.Getenv(asChild) != t.Name() {
		t.Skip("another test starts a process for this one")
	}
}
