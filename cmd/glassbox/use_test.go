package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(content), 0o755))
	return file
}

// TestADay is what a user does in a day, on a cluster of two.
func TestADay(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	s := newShell(t)
	s.env["GLASSBOX_ADDR"] = nodes[0].HTTP()

	require.Regexp(t, `(?s)cluster glassbox seen by n1: whole, 2 of 2 nodes alive.*n1 \* +alive +direct.*n2 +alive`, s.ok("status"))
	require.Contains(t, s.ok("status", "--node", "n2"), "seen by n2")
	require.Equal(t, "no processes; `glassbox sandbox create FILE` starts some\n", s.ok("ps"))
	require.Equal(t, "no sandboxes; `glassbox sandbox create FILE` starts one\n", s.ok("sandbox", "list"))
	require.Equal(t, "healthy, whole\n", s.ok("health"))
	require.Regexp(t, `n2 +alive +direct +[\d.]+ (µs|ms) +[\d.]+ MB`, s.ok("nodes"))
	require.Contains(t, s.ok("node", "info", "n2"), nodes[1].RPC())
	require.Equal(t, "n2 answers\n", s.ok("ping", "n2"))

	// A program beside its spec, in YAML.
	spec := write(t, "pair.yaml", "id: pair\nlabels: {team: a}\nchildren:\n"+
		"  - {id: hello, run: {exec: [./hello.sh]}, restart: temporary}\n  - {id: wait, run: {exec: [sleep, \"600\"]}}\n")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(spec), "hello.sh"), []byte("#!/bin/sh\nprintf 'hi\\033[31m\\n'; exec sleep 600\n"), 0o755))
	// A node that runs as root gives the sandbox a user of its own, to whom this folder
	// must be open.
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(spec)), 0o755))
	require.Equal(t, "pair is running on n2\n", s.ok("sandbox", "create", spec, "--node", "n2"))
	require.Contains(t, s.ok("sandbox", "list", "--label", "team=a"), "pair")
	require.Contains(t, s.ok("sandbox", "list", "--label", "team=b"), "no sandboxes")
	require.Equal(t, 4, strings.Count(s.ok("ps"), "\n"), "a head, a supervisor and two workers")
	hello, wait := field(t, s.ok("ps"), "hello", 0), field(t, s.ok("ps"), "wait", 0)
	require.Eventually(t, func() bool { return strings.Contains(s.ok("logs", hello), "hi·[31m\n") }, 5*time.Second, 20*time.Millisecond,
		"what could drive the terminal is made visible")
	require.Contains(t, s.ok("logs", hello), "started as os process")
	require.Contains(t, s.ok("info", wait), "running")
	require.Equal(t, "killed "+wait+"\n", s.ok("kill", wait))
	s.fails(3, "has ended", "kill", wait)
	require.Eventually(t, func() bool {
		running := s.ok("ps", "--state", "running") // what the other node has told so far
		return strings.Contains(running, "wait") && !strings.Contains(running, wait)
	}, 5*time.Second, 20*time.Millisecond)
	require.Regexp(t, `ENDED +CHILD +LIVED +HOW\n.*killed by`, s.ok("sandbox", "info", "pair"))

	events := s.ok("events", "--subject", "pair")
	require.Contains(t, events, "SandboxRunning")
	require.NotContains(t, events, "Member")
	require.Equal(t, "no events\n", s.ok("events", "--type", "Nothing"))
	require.Equal(t, 2, strings.Count(s.ok("events", "--limit", "2"), "\n"))

	require.Equal(t, "destroyed\n", s.ok("sandbox", "destroy", "pair"))
	require.Contains(t, s.ok("ps"), "no processes")

	// For programs: JSON, and any operation.
	var list map[string][]any
	require.NoError(t, json.Unmarshal([]byte(s.ok("ps", "-o", "json")), &list))
	require.Equal(t, map[string][]any{"processes": {}}, list)
	require.JSONEq(t, `{"node":"n2","payload":[1]}`, s.ok("call", "node.ping", `{"payload":[1]}`, "--node", "n2"))
	s.in = `{"node":"n1"}`
	require.JSONEq(t, `{"node":"n1"}`, s.ok("call", "node.ping", "-"))
	require.Contains(t, s.ok("nodes", "-o", "json"), `"rss_bytes"`)
	r := s.run("sandbox", "info", "nope", "-o", "json")
	require.Equal(t, 3, r.code)
	var problem map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.err), &problem))
	require.Equal(t, "not_found", problem["kind"])
}

// field is a column of the row that has a word.
func field(t *testing.T, text, word string, column int) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); strings.Contains(line, " "+word+" ") {
			return fields[column]
		}
	}
	require.Fail(t, "no such row", "%s in\n%s", word, text)
	return ""
}

// TestMistakes: each is told in a sentence and by the exit code.
func TestMistakes(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	s := newShell(t)
	s.env["GLASSBOX_ADDR"] = n.HTTP()
	s.fails(3, "n9", "ping", "n9")
	s.fails(3, "no pid", "kill", "nobody")
	s.fails(2, "no operation", "call", "nope")
	s.fails(2, "PARAMS must be a JSON object", "call", "node.ping", "x")
	s.fails(2, "limit", "ps", "--limit", "0")
	s.fails(2, "must be one of", "ps", "--state", "asleep")

	s.fails(2, "the spec cannot be read", "sandbox", "create", "missing.yaml")
	s.fails(2, "neither YAML nor JSON", "sandbox", "create", write(t, "a.yaml", "id: [\n"))
	s.fails(2, "must hold an object", "sandbox", "create", write(t, "b.yaml", "- 1\n"))
	r := s.run("sandbox", "create", write(t, "c.yaml", "id: C\nchildren:\n  - {id: a, run: {exec: [x]}, restart: often, shutdown_ms: -1}\nfoo: 1\n"))
	require.Equal(t, 2, r.code)
	for _, fault := range []string{"the spec has 4 fault(s)", "/id: ", "/children/0/restart: ", "/children/0/shutdown_ms: ", "/foo: "} {
		require.Contains(t, r.err, fault, "all faults at once")
	}

	// A program that does not exist: the sandbox says so and why.
	s.in = `{"id":"none","children":[{"id":"a","run":{"exec":["/no/such/program"]}}]}`
	r = s.run("sandbox", "create", "-")
	require.NotContains(t, r.out, "running")
	require.Contains(t, r.out+r.err, "/no/such/program")
	require.Regexp(t, `none +n1 +failed .*/no/such/program`, s.ok("sandbox", "list"))
	require.Equal(t, "destroyed\n", s.ok("sandbox", "destroy", "none"))

	s.in = `{"id":"one","children":[{"id":"a","run":{"exec":["sleep","600"]}}]}`
	s.ok("sandbox", "create", "-", "--wait", "placed")
	s.fails(4, "already exists", "sandbox", "create", "-")
	s.in = strings.ReplaceAll(s.in, "one", "two")
	s.fails(2, "wait", "sandbox", "create", "-", "--wait", "long")
	s.fails(2, "the token cannot be read", "ps", "--token-file", "missing")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	s.env["GLASSBOX_ADDR"] = l.Addr().String() // accepts and never answers
	begun := time.Now()
	s.fails(5, "no answer from", "status", "--timeout", "200ms")
	require.Less(t, time.Since(begun), 2*time.Second)
	require.NoError(t, l.Close())
	s.fails(5, "no node listens at", "status")
	s.fails(5, "no node listens at", "events", "-f")
}

// TestFollow: events and logs go on until they end or are interrupted.
func TestFollow(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	s := newShell(t)
	s.env["GLASSBOX_ADDR"] = n.HTTP()
	ctx, interrupt := context.WithCancel(t.Context())
	var events, lines, errors buffer
	ended := s.start(ctx, &events, &errors, "events", "-f", "--types", "SandboxRunning,ProcessExited")

	s.in = `{"id":"brief","children":[{"id":"a","run":{"exec":["sh","-c","for i in 1 2 3; do echo line $i; sleep 0.05; done"]},"restart":"temporary"}]}`
	s.ok("sandbox", "create", "-")
	pid := field(t, s.ok("ps", "--type", "worker"), "brief", 0)
	following := s.start(ctx, &lines, &errors, "logs", pid, "-f", "-o", "json")
	require.Eventually(t, func() bool {
		return strings.Contains(events.String(), "ProcessExited") && strings.Contains(lines.String(), `"line":"line 3"`)
	}, 10*time.Second, 10*time.Millisecond, "%s %s %s", &events, &lines, &errors)
	require.Equal(t, 2, strings.Count(events.String(), "\n"))
	interrupt()
	require.Zero(t, ended(), "an interrupt is no failure")
	following()
	require.Empty(t, errors.String())
}

// TestServe: one node by the command line.
func TestServe(t *testing.T) {
	s := newShell(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, log buffer
	ended := s.start(ctx, &out, &log, "serve", "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--log-format", "json")
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "joined the cluster") }, 10*time.Second, 10*time.Millisecond)
	interrupt()
	require.Zero(t, ended(), "%s", &log)
	require.Contains(t, log.String(), `"msg":"ended"`)
}
