package operations_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

func TestMain(m *testing.M) { nodetest.Main(m) }

// withoutExample are the operations that an example cannot show: they need a
// connection that stays, end the node, or break what is asked for next.
var withoutExample = []string{"event.subscribe", "event.unsubscribe", "node.leave", "fault.cut", "fault.delay", "fault.drop"}

// lifeCycle is the order in which examples that build on each other are run:
// first what makes the sandbox and the names, then what looks at them, then what
// ends them.
var lifeCycle = []string{"sandbox.create", "registry.register", "pubsub.publish", "", "process.logs", "process.kill", "supervisor.terminate_child",
	"supervisor.restart_child", "supervisor.delete_child", "supervisor.start_child", "sandbox.restart", "registry.unregister", "sandbox.destroy"}

// TestExamplesAgree runs every example over REST and over JSON-RPC on a real
// node, and both must say the same.
func TestExamplesAgree(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	ops := slices.Clone(table(t).Ops())
	stage := func(o *op.Op) int {
		if i := slices.Index(lifeCycle, o.Name); i >= 0 {
			return i
		}
		return slices.Index(lifeCycle, "")
	}
	slices.SortStableFunc(ops, func(a, b *op.Op) int { return stage(a) - stage(b) })

	answers := map[string]map[string]string{}
	for way, ask := range map[string]func(*testing.T, *nodetest.Node, *op.Op, string) (int, json.RawMessage){"rest": rest, "rpc": rpc} {
		answers[way] = map[string]string{}
		for _, o := range ops {
			if !slices.Contains(withoutExample, o.Name) {
				require.NotEmpty(t, o.Examples, "%s shows no example", o.Name)
			}
			for _, example := range o.Examples {
				params := strings.ReplaceAll(example.Params, "${node}", "n1")
				if strings.Contains(params, "${pid}") {
					params = strings.ReplaceAll(params, "${pid}", runningPID(t, n))
				}
				if strings.Contains(params, "${supervisor}") {
					params = strings.ReplaceAll(params, "${supervisor}", supervisorPID(t, n))
				}
				status, answer := ask(t, n, o, params)
				require.True(t, way == "rpc" || status == o.SuccessStatus(), "%s: status %d: %s", o.Name, status, answer)
				answers[way][o.Name+": "+example.Summary] = canonical(t, answer, example.Volatile)
			}
		}
	}
	require.Len(t, answers["rest"], len(answers["rpc"]))
	for name, answer := range answers["rpc"] {
		t.Run(name, func(t *testing.T) { require.Equal(t, answer, answers["rest"][name]) })
	}
}

// runningPID is a worker of the example's sandbox. It waits until its
// supervisor has started it again.
func runningPID(t *testing.T, n *nodetest.Node) string {
	t.Helper()
	for {
		list := nodetest.Call[operations.ProcessList](t, n, "process.list", map[string]any{"sandbox": "pair", "type": "worker", "state": "running"})
		if len(list.Processes) == 2 {
			return list.Processes[0].PID
		}
		require.NoError(t, t.Context().Err())
	}
}

// supervisorPID is the supervisor of the example's sandbox.
func supervisorPID(t *testing.T, n *nodetest.Node) string {
	t.Helper()
	list := nodetest.Call[operations.SupervisorList](t, n, "supervisor.list", map[string]any{"sandbox": "pair"})
	require.Len(t, list.Supervisors, 1)
	return list.Supervisors[0].PID
}

// rest puts the parameters where a REST client would: in the path, then in the
// query or, where the method has one, in the body.
func rest(t *testing.T, n *nodetest.Node, o *op.Op, raw string) (int, json.RawMessage) {
	t.Helper()
	var params map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(raw), &params))
	path := op.APIPrefix + o.Path
	for _, name := range o.PathParams() {
		path = strings.ReplaceAll(path, ":"+name, url.PathEscape(text(t, params[name])))
		delete(params, name)
	}
	var body io.Reader
	query := url.Values{}
	if o.Method == http.MethodGet || o.Method == http.MethodDelete {
		for name, value := range params {
			query.Set(name, text(t, value))
		}
	} else {
		rest, err := json.Marshal(params)
		require.NoError(t, err)
		body = bytes.NewReader(rest)
	}
	r, err := http.NewRequestWithContext(t.Context(), o.Method, "http://"+n.HTTP()+path+"?"+query.Encode(), body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := n.Client().HTTP.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	if len(content) == 0 {
		content = []byte("null")
	}
	return answer.StatusCode, content
}

func text(t *testing.T, value json.RawMessage) string {
	t.Helper()
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s
	}
	return string(value)
}

func rpc(t *testing.T, n *nodetest.Node, o *op.Op, raw string) (int, json.RawMessage) {
	t.Helper()
	var result json.RawMessage
	require.NoError(t, n.Client().Call(t.Context(), o.Name, json.RawMessage(raw), &result), o.Name)
	return 0, result
}

// canonical leaves out what may differ from call to call.
func canonical(t *testing.T, raw json.RawMessage, volatile []string) string {
	t.Helper()
	var value any
	require.NoError(t, json.Unmarshal(raw, &value))
	text, err := json.MarshalIndent(without(value, volatile), "", " ")
	require.NoError(t, err)
	return string(text)
}

func without(value any, volatile []string) any {
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			if slices.Contains(volatile, name) {
				delete(value, name)
			} else {
				value[name] = without(member, volatile)
			}
		}
	case []any:
		for i, item := range value {
			value[i] = without(item, volatile)
		}
	}
	return value
}
