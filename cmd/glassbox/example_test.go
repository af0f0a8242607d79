package main

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
)

// TestTheExample runs what docs/sandboxes.md shows: a service of three programs of
// the distribution's, of which one is killed.
func TestTheExample(t *testing.T) {
	for _, program := range []string{"erl", "epmd"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("GLASSBOX_REQUIRE") != "" {
				require.NoError(t, err, "GLASSBOX_REQUIRE is set: install erlang-base")
			}
			t.Skipf("%s is not installed (Debian: erlang-base)", program)
		}
	}
	nodes := nodetest.Start(t, 2)
	s := newShell(t)
	s.env["GLASSBOX_ADDR"] = nodes[0].HTTP()
	require.Equal(t, "counter is running on n2\n", s.ok("sandbox", "create", "../../examples/counter.yaml", "--node", "n2"))
	counts := func(how string) {
		t.Helper()
		require.Eventually(t, func() bool {
			return regexp.MustCompile(how).MatchString(s.ok("logs", field(t, s.ok("ps"), "asking", 0)))
		}, 20*time.Second, 50*time.Millisecond, how)
	}
	counts(`the count is 1\n(?s:.*)the count is 2\n`)
	s.ok("kill", field(t, s.ok("ps"), "counting", 0))
	counts(`rest_for_one restarts it with another child\n(?s:.*)the count is 1\n`)
	require.Regexp(t, `epmd  running  \S+  \w+\n.*counting  running  \S+  \w+  restarted once\n.*asking  running  \S+  \w+  restarted once\n`, s.ok("tree"))
	require.Equal(t, "destroyed\n", s.ok("sandbox", "destroy", "counter"))
}
