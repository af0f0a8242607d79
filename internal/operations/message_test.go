package operations_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// scripts makes a spec of shell scripts that speak JSON-RPC.
func scripts(id string, all ...string) map[string]any {
	var children []any
	for i, script := range all {
		children = append(children, map[string]any{
			"id": string(rune('a' + i)), "protocol": "jsonrpc", "run": map[string]any{"exec": []string{"sh", "-c", script}},
		})
	}
	return map[string]any{"id": id, "children": children, "max_restarts": 100}
}

// replies answers every call with "done". It starts no other program.
const replies = `exec sed -u 's/"method".*/"result":"done"}/'`

func pidOf(t *testing.T, n *nodetest.Node, sandboxID, child string) string {
	t.Helper()
	list := nodetest.Call[operations.ProcessList](t, n, "process.list", map[string]any{"sandbox": sandboxID, "type": "worker"})
	for _, p := range list.Processes {
		if p.Child == child {
			return p.PID
		}
	}
	require.Fail(t, "no such child", child)
	return ""
}

func messageErr(t *testing.T, n *nodetest.Node, params map[string]any) *errs.Error {
	t.Helper()
	err := n.Client().Call(t.Context(), "process.message", params, nil)
	require.Error(t, err)
	return errs.From(err)
}

func TestMessagesFromAnyNode(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	near, far := nodes[0], nodes[1]
	nodetest.Call[json.RawMessage](t, near, "sandbox.create", scripts("talk", replies,
		`read -r line; exit 3`,
		`exec sed -u 's/"method".*/"error":{"code":-32050,"message":"no","data":[1]}}/'`,
		`exec sleep 600`))
	nodetest.Call[json.RawMessage](t, near, "sandbox.create",
		map[string]any{"id": "mute", "children": []any{map[string]any{"id": "a", "run": map[string]any{"exec": []string{"sleep", "600"}}}}})
	call := map[string]any{"method": "x", "params": []int{1}}
	a := pidOf(t, near, "talk", "a")
	nodetest.Call[json.RawMessage](t, near, "registry.register", map[string]any{"name": "shop/a", "pid": a})
	nodetest.Call[json.RawMessage](t, near, "registry.register", map[string]any{"name": "shop/node"})
	for _, to := range []string{a, "shop/a"} {
		got := nodetest.Call[operations.Messaged](t, far, "process.message", map[string]any{"pid": to, "message": call})
		require.Equal(t, operations.Messaged{PID: a, Result: json.RawMessage(`"done"`)}, got)
	}

	refused := nodetest.Call[operations.Messaged](t, far, "process.message", map[string]any{"pid": pidOf(t, far, "talk", "c"), "message": call})
	require.Equal(t, int64(-32050), refused.Error.Code)
	require.JSONEq(t, `[1]`, string(refused.Error.Data))

	e := messageErr(t, far, map[string]any{"pid": pidOf(t, far, "talk", "b"), "message": call})
	require.Equal(t, errs.ConnectionLost, e.Kind)
	require.False(t, e.Definite())
	require.Contains(t, e.Why, "exit code 3")

	e = messageErr(t, far, map[string]any{"pid": pidOf(t, far, "talk", "d"), "message": call, "timeout_ms": 100})
	require.Equal(t, errs.Timeout, e.Kind)
	require.False(t, e.Definite())

	e = messageErr(t, far, map[string]any{"pid": pidOf(t, far, "mute", "a"), "message": call})
	require.Equal(t, errs.Conflict, e.Kind)
	require.Contains(t, e.Message, `"protocol": "jsonrpc"`)
	require.True(t, e.Definite())

	require.Equal(t, errs.Conflict, messageErr(t, far, map[string]any{"pid": "shop/node", "message": call}).Kind)
	require.Equal(t, errs.NotFound, messageErr(t, far, map[string]any{"pid": "shop/none", "message": call}).Kind)
	for _, message := range []any{"text", map[string]any{}, map[string]any{"method": "x", "params": 1}, map[string]any{"method": "x", "id": 1}, nil} {
		require.Equal(t, errs.BadParameter, messageErr(t, far, map[string]any{"pid": a, "message": message}).Kind, message)
	}
	e = messageErr(t, far, map[string]any{"pid": a, "message": strings.Repeat("x", 1<<20+1), "message_type": "send"})
	require.Equal(t, errs.TooLarge, e.Kind)
}

// What a program says that is no answer is its log, marked for what it is.
func TestWhatAProgramSaysUnaskedIsItsLog(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	nodetest.Call[json.RawMessage](t, n, "sandbox.create", scripts("talk",
		`echo warm >&2; echo hello; echo '{"jsonrpc":"2.0","method":"ready"}'; echo '{"jsonrpc":"2.0","id":5,"method":"roots/list"}'; exec sed -u 's/^/got /'`))
	pid := pidOf(t, n, "talk", "a")
	nodetest.Call[operations.Messaged](t, n, "process.message", map[string]any{"pid": pid, "message": map[string]any{"b": []int{1}}, "message_type": "send"})
	want := []string{
		"stderr warm",
		"stdout (no JSON-RPC) hello",
		`stdout {"jsonrpc":"2.0","method":"ready"}`,
		`stdout (request, refused) {"jsonrpc":"2.0","id":5,"method":"roots/list"}`,
		`stdout (no JSON-RPC) got {"jsonrpc":"2.0","id":5,"error":{"code":-32601,"message":"Glassbox answers no requests of programs"}}`,
		`stdout (no JSON-RPC) got {"b":[1]}`,
	}
	require.Eventually(t, func() bool {
		logs := nodetest.Call[operations.ProcessLogs](t, n, "process.logs", map[string]any{"pid": pid})
		var got []string
		for _, e := range logs.Entries {
			if e.Stream != sandbox.System {
				got = append(got, string(e.Stream)+" "+e.Line)
			}
		}
		if len(got) < len(want) {
			return false
		}
		require.ElementsMatch(t, want, got)
		return true
	}, 20*time.Second, 20*time.Millisecond)
}

func TestFiguresOfAProcessAndOfASandbox(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	nodetest.Call[json.RawMessage](t, n, "sandbox.create", scripts("talk", replies, "exec sleep 600"))
	pid := pidOf(t, n, "talk", "a")
	nodetest.Call[operations.Messaged](t, n, "process.message", map[string]any{"pid": pid, "message": map[string]any{"method": "x"}})
	require.Len(t, nodetest.Call[map[string]any](t, n, "process.info", map[string]any{"pid": pid, "keys": []string{"state", "isolation"}}), 2)
	info := nodetest.Call[operations.ProcessInfo](t, n, "process.info", map[string]any{"pid": pid})
	require.Positive(t, info.Stats.RSSBytes)
	require.Positive(t, info.Stats.Files)
	require.GreaterOrEqual(t, info.Stats.Processes, 1)
	require.EqualValues(t, 1, info.Stats.Messages.Calls)
	require.EqualValues(t, 1, info.Output.Lines, "that it was started")
	all := nodetest.Call[operations.SandboxInfo](t, n, "sandbox.info", map[string]any{"sandbox_id": "talk", "include_stats": true})
	require.GreaterOrEqual(t, all.Stats.Processes, 2)
	require.Greater(t, all.Stats.RSSBytes, info.Stats.RSSBytes)
	supervisor := nodetest.Call[operations.ProcessInfo](t, n, "process.info", map[string]any{"pid": all.Processes[0].PID})
	require.Nil(t, supervisor.Stats)
	require.Nil(t, supervisor.Output)
	require.Nil(t, nodetest.Call[operations.SandboxInfo](t, n, "sandbox.info", map[string]any{"sandbox_id": "talk"}).Stats)
}

func TestSignals(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	nodetest.Call[json.RawMessage](t, nodes[0], "sandbox.create", scripts("talk",
		`trap 'echo "{\"jsonrpc\":\"2.0\",\"method\":\"usr1\"}"' USR1; echo ready; while true; do sleep 0.01; done`))
	pid := pidOf(t, nodes[0], "talk", "a")
	said := func(lines int) {
		require.Eventually(t, func() bool {
			logs := nodetest.Call[operations.ProcessLogs](t, nodes[0], "process.logs", map[string]any{"pid": pid, "stream": "stdout"})
			return len(logs.Entries) == lines
		}, 20*time.Second, 20*time.Millisecond)
	}
	said(1)
	for i, name := range []string{"SIGUSR1", "usr1", "10"} {
		got := nodetest.Call[operations.Signaled](t, nodes[1], "process.signal", map[string]any{"pid": pid, "signal": name})
		require.Equal(t, pid, got.PID)
		said(i + 2)
	}
	for _, name := range []string{"", "0", "65", "-1", "SIGNONE", "SIGSIGHUP"} {
		err := nodes[1].Client().Call(t.Context(), "process.signal", map[string]any{"pid": pid, "signal": name}, nil)
		require.Equal(t, errs.BadParameter, errs.KindOf(err), name)
		require.ErrorContains(t, err, "SIGUSR2")
	}
}
