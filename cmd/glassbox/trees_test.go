package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
)

// TestTrees: supervision trees by the command line, from another node.
func TestTrees(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	s := newShell(t)
	s.env["GLASSBOX_ADDR"] = nodes[0].HTTP()
	require.Contains(t, s.ok("tree"), "no sandboxes")
	s.in = `
id: shop
children:
- {id: cache, run: {exec: [sleep, "600"]}}
- id: workers
  strategy: rest_for_one
  children:
  - {id: a, run: {exec: [sleep, "600"]}}
  - {id: b, run: {exec: [sleep, "600"]}}
`
	s.ok("sandbox", "create", "-", "--node", "n2")
	require.Regexp(t, `^shop on n2  one_for_one  running  n2\.\S+
├─ cache  running  n2\.\S+  \w+
└─ workers  rest_for_one  running  n2\.\S+
   ├─ a  running  n2\.\S+  \w+
   └─ b  running  n2\.\S+  \w+
$`, s.ok("tree"))
	require.Equal(t, 1, strings.Count(s.ok("tree", "--include-children=false"), "\n"))
	require.Equal(t, 3, strings.Count(s.ok("tree", "--max-depth", "1"), "\n"))

	workers := field(t, s.ok("supervisor", "list"), "workers", 0)
	require.Regexp(t, `(?m)^n2\S+ +n2 +shop +workers +running +rest_for_one +2 of 2 +0\.0 +-$`, s.ok("supervisor", "list"))
	require.Regexp(t, `^workers/c is running as n2`, s.ok("supervisor", "start-child", workers, `{"id":"c","run":{"exec":["sleep","600"]}}`))
	s.fails(4, "already started", "supervisor", "start-child", workers, `{"id":"c","run":{"exec":["sleep","600"]}}`)
	s.fails(2, "/run/exec: is empty", "supervisor", "start-child", workers, `{"id":"d","run":{"exec":[]}}`)
	s.fails(4, "running: terminate it first", "supervisor", "delete-child", workers, "c")
	require.Equal(t, "terminated c\n", s.ok("supervisor", "terminate-child", workers, "c"))
	require.Regexp(t, `(?m)^c +undefined +worker +permanent +-$`, s.ok("supervisor", "which-children", workers))
	require.Equal(t, "3 children, 2 active: 0 supervisors, 3 workers\n", s.ok("supervisor", "count-children", workers))
	require.Regexp(t, `^workers/c is running as n2`, s.ok("supervisor", "restart-child", workers, "c"))
	s.ok("supervisor", "terminate-child", workers, "c")
	require.Equal(t, "deleted\n", s.ok("supervisor", "delete-child", workers, "c"))
	s.fails(3, "not found", "supervisor", "restart-child", workers, "c")
	s.fails(3, "no pid", "supervisor", "which-children", "shop")

	// What is started after the one that ends is restarted with it.
	first := field(t, s.ok("ps"), "workers/b", 0)
	s.ok("kill", field(t, s.ok("ps"), "workers/a", 0))
	require.Eventually(t, func() bool {
		tree := s.ok("tree")
		return !strings.Contains(tree, first) && strings.Count(tree, "running") == 5
	}, 10*time.Second, 10*time.Millisecond)
	require.Regexp(t, `0\.2 +\S+ ago, a: ended by SIGKILL`, s.ok("supervisor", "list"))
	s.ok("sandbox", "destroy", "shop")
}
