package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
)

// TestFaults: links are broken on purpose where that is allowed, and one sees it.
func TestFaults(t *testing.T) {
	configs := nodetest.Configs(t, 2)
	configs[0].AllowFaults = true
	nodes := []*nodetest.Node{nodetest.Run(t, configs[0]), nodetest.Run(t, configs[1])}
	for _, n := range nodes {
		n.WaitReady(t)
	}
	s := newShell(t)
	s.env["GLASSBOX_ADDR"] = nodes[1].HTTP()
	require.Equal(t, "this node allows none; start it with --allow-faults\n", s.ok("fault", "list"))
	s.fails(1, "--allow-faults", "fault", "cut", "n1")

	s.env["GLASSBOX_ADDR"] = nodes[0].HTTP()
	require.Equal(t, "no faults\n", s.ok("fault", "list"))
	require.NotContains(t, s.ok("status"), "on purpose")
	require.Equal(t, "no faults to heal\n", s.ok("fault", "heal"))
	require.Equal(t, "f1: delay of the link to n2 by 5ms (in), for 10m00s\n", s.ok("fault", "delay", "n2", "5", "--direction", "in", "--ttl-ms", "600000"))
	require.Equal(t, "f2: cut of the link to n2 (both), for 10m00s\n", s.ok("fault", "cut", "n2", "--ttl-ms", "600000"))
	require.Regexp(t, `^ID +KIND +PEER +DIRECTION +DELAY +LEFT\nf1 +delay +n2 +in +5ms +9m\d\ds\nf2 +cut +n2 +both +- +9m\d\ds\n$`, s.ok("fault", "list"))
	require.Regexp(t, `(?m)^n1 breaks links on purpose: f1: delay .* by 5ms \(in\), 9m\d\ds left; f2: cut of the link to n2 \(both\), 9m\d\ds left\n\nNODE`, s.ok("status"))
	require.Equal(t, "healed f1: delay of the link to n2 by 5ms (in); f2: cut of the link to n2 (both)\n", s.ok("fault", "heal"))
	require.Regexp(t, `^closed \d connections?\n$`, s.ok("fault", "drop", "n2"))
	s.fails(3, "no peer", "fault", "drop", "n9")
	s.fails(3, "f9", "fault", "heal", "--id", "f9")
}
