package testcontainers

import (
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

func TestOptions(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755))
	for want, o := range map[string]Options{
		"1 to 32 nodes, not 0":      {Binary: text},
		"1 to 32 nodes, not 33":     {Binary: text, Nodes: 33},
		"harness.Build makes it":    {Binary: "/nonexistent", Nodes: 1},
		"is no program for Linux":   {Binary: text, Nodes: 1},
		"build it with CGO_ENABLED": {Binary: "/bin/sh", Nodes: 1},
		"the helper's binary is mi": {Binary: binary(t), Helper: "/nonexistent", Nodes: 1},
	} {
		require.ErrorContains(t, o.check(), want)
	}
	require.NoError(t, Options{Binary: binary(t), Nodes: 32}.check())
}

func TestCommand(t *testing.T) {
	nodes := []*node{{name: "n1", addr: netip.MustParseAddr("198.18.0.2")}, {name: "n2", addr: netip.MustParseAddr("198.18.0.3")}}
	plain := "serve --name n1 --http 0.0.0.0:4000 --token-file /token --rpc 0.0.0.0:4100 --secret-file /secret" +
		" --advertise 198.18.0.2:4100 --peer n2=198.18.0.3:4100"
	require.Equal(t, plain, strings.Join(Options{}.command(nodes[0], nodes), " "))
	o := Options{Preset: "wan", AllowFaults: true, Flags: []string{"--history", "7"}}
	require.Equal(t, plain+" --preset wan --allow-faults --history 7", strings.Join(o.command(nodes[0], nodes), " "))
}

func TestEndingOf(t *testing.T) {
	for _, test := range []struct {
		code        int
		killed, oom bool
		want        harness.Ending
	}{
		{0, false, false, harness.Ending{}},
		{2, false, false, harness.Ending{Code: 2}},
		{137, true, false, harness.Ending{Code: -1, Signal: "killed"}},
		{137, false, false, harness.Ending{Code: 137}}, // somebody else did
		{137, true, true, harness.Ending{Code: 137}},   // memory ran out before we did
		{0, true, false, harness.Ending{}},             // it was quicker
	} {
		got := endingOf(&container.State{ExitCode: test.code, OOMKilled: test.oom}, test.killed)
		require.Equal(t, test.want, *got)
	}
}

func TestReachable(t *testing.T) {
	for _, test := range []struct {
		host    string
		local   bool
		at      string
		publish string
	}{
		{"localhost", true, "127.0.0.1", "127.0.0.1"},
		{"127.0.0.1", false, "127.0.0.1", "127.0.0.1"},
		{"172.17.0.1", true, "172.17.0.1", "172.17.0.1"}, // beside us
		{"10.0.0.9", false, "10.0.0.9", "invalid IP"},
		{"docker.example", false, "docker.example", "invalid IP"},
	} {
		at, publish := reachable(test.host, test.local)
		require.Equal(t, test.at, at)
		require.Equal(t, test.publish, publish.String())
	}
}

// TestReported: the engine's time counts if it can be one of ours.
func TestReported(t *testing.T) {
	from := time.Now().UTC().Round(0)
	to := from.Add(time.Second)
	at := from.Add(time.Millisecond)
	for _, test := range []struct {
		text  string
		local bool
		want  time.Time
	}{
		{at.Format(time.RFC3339Nano), true, at},
		{at.Format(time.RFC3339Nano), false, to},
		{from.Add(-time.Minute).Format(time.RFC3339Nano), true, to},
		{to.Add(time.Minute).Format(time.RFC3339Nano), true, to},
		{"soon", true, to},
	} {
		e := &engine{local: test.local}
		require.True(t, test.want.Equal(e.reported(test.text, from, to)), test.text)
	}
}

func TestSubnets(t *testing.T) {
	for range 1000 {
		subnet := randomSubnet()
		require.Equal(t, subnet, subnet.Masked())
		require.True(t, networkRange.Overlaps(subnet))
		last := nodeAddr(subnet, harness.MaxNodes-1)
		require.True(t, subnet.Contains(last))
		require.True(t, subnet.Contains(last.Next()), "the last one is for broadcasts")
		require.NotEqual(t, subnet.Addr().Next(), nodeAddr(subnet, 0), "that is the gateway")
	}
}

// TestNoSuchLink: what would mean something else is refused.
func TestNoSuchLink(t *testing.T) {
	c := &Containers{nodes: []*node{{name: "n1", lives: 1, turn: make(chan struct{}, 1)}, {name: "n2"}}}
	for want, link := range map[string]harness.Link{
		"a loss of 1.5; it is between 0 and 1": {Loss: 1.5},
		"a loss of NaN":                        {Loss: math.NaN()},
		"a delay of -1s; it is at least 1ms":   {Delay: -time.Second},
		"a delay of 999µs":                     {Delay: 999 * time.Microsecond},
	} {
		link.Node = "n1"
		_, err := c.Break(t.Context(), link)
		require.ErrorContains(t, err, want)
	}
}

// TestAnotherMachine: its programs are refused before the engine sees them.
func TestAnotherMachine(t *testing.T) {
	other, its := "aarch64", "GOARCH=arm64"
	if runtime.GOARCH == "arm64" {
		other, its = "x86_64", "GOARCH=amd64"
	}
	e := &engine{arch: other}
	require.ErrorContains(t, e.runs(Options{Binary: binary(t)}), "is for another machine")
	require.ErrorContains(t, e.runs(Options{Binary: binary(t)}), "build it with "+its)
	e.arch = "vax"
	require.NoError(t, e.runs(Options{Binary: binary(t)}), "nobody knows")
}

func TestWhyKilled(t *testing.T) {
	require.Contains(t, whyKilled(&container.State{OOMKilled: true}, time.Second), "ran out of memory")
	require.Contains(t, whyKilled(&container.State{}, time.Second), "by somebody else")
	require.Contains(t, whyKilled(&container.State{}, stopTimeout), "did not end within 15s")
}

// TestHelperIsNoTool: a module that cannot build the helper is told what it
// lacks.
func TestHelperIsNoTool(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("go.mod", []byte("module example.com/forgetful\n\ngo 1.26\n"), 0o644))
	_, err := harness.BuildProgram(t.Context(), t.TempDir(), helperProgram)
	require.ErrorContains(t, err, "make it a tool of your module: go get -tool "+helperProgram)
}

func TestNoDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.ErrorContains(t, Options{Dir: filepath.Join(file, "logs")}.makeDir(), "a folder for the nodes' logs")
}

// TestDelayIsRefused where the nodes were not started to make one.
func TestDelayIsRefused(t *testing.T) {
	c := &Containers{nodes: []*node{{name: "n1", lives: 1, turn: make(chan struct{}, 1)}, {name: "n2"}}}
	_, err := c.Break(t.Context(), harness.Link{Node: "n1", Peer: "n2", Delay: time.Second})
	require.ErrorContains(t, err, "set Options.AllowFaults")
	require.False(t, c.nodes[0].faults.delayed)
}
