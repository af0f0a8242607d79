package op

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

type greetParams struct {
	Name  string   `json:"name" op:"required" min:"1" max:"8" doc:"whom to greet"`
	Times int      `json:"times" default:"1" min:"1" max:"3"`
	Mood  string   `json:"mood" enum:"glad,sad" default:"glad"`
	Loud  bool     `json:"loud"`
	Tags  []string `json:"tags"`
	Extra struct {
		Deep int `json:"deep"`
	} `json:"extra"`
}

type greeting struct {
	Text string      `json:"text"`
	By   string      `json:"by"`
	Errs []NodeError `json:"errors,omitempty"`
}

// fakeRouter is a cluster of tables that forward to each other.
type fakeRouter struct {
	self    string
	tables  map[string]*Table
	targets []Target
	ready   chan struct{}
	peer    string
}

func (r *fakeRouter) Self() string              { return r.self }
func (r *fakeRouter) Targets() []Target         { return r.targets }
func (r *fakeRouter) Ready() <-chan struct{}    { return r.ready }
func (r *fakeRouter) ReadyPeer() (string, bool) { return r.peer, r.peer != "" }
func (r *fakeRouter) Forward(ctx context.Context, node string, f Forwarded) (json.RawMessage, error) {
	t := r.tables[node]
	if t == nil {
		return nil, errs.New(errs.NodeUnavailable, "node %s is dead", node)
	}
	return t.Run(ctx, f)
}

func greet(by string) []*Op {
	spec := func(name string, runs Place) Spec {
		return Spec{
			Name: "greet." + name, Summary: "Greet", Method: "GET", Path: "/greet/:name/" + name,
			Effect: Read, Runs: runs, Errors: []errs.Kind{errs.NotFound},
		}
	}
	hello := func(_ context.Context, in greetParams) (greeting, error) {
		return greeting{Text: strings.Repeat("hello "+in.Name+" ", in.Times) + in.Mood, By: by}, nil
	}
	write := spec("write", Anywhere)
	write.Effect = Write
	return []*Op{
		Define(spec("here", Anywhere), hello),
		Define(write, hello),
		Define(spec("owner", OnOwner), hello, Owner(func(_ context.Context, in greetParams) (string, error) {
			if in.Name == "nobody" {
				return "", errs.New(errs.NotFound, "nobody is not here")
			}
			return in.Name, nil
		})),
		Define(spec("all", Everywhere), hello, Merge(func(parts []Part[greeting]) greeting {
			all := greeting{Errs: Failed(parts)}
			for _, p := range parts {
				all.By += p.Value.By
			}
			return all
		})),
		Define(spec("panic", Anywhere), func(context.Context, greetParams) (greeting, error) { panic("ouch") }),
		Define(spec("slow", Anywhere), func(ctx context.Context, _ greetParams) (greeting, error) {
			<-ctx.Done()
			return greeting{}, ctx.Err()
		}),
		Define(spec("fail", Anywhere), func(context.Context, greetParams) (greeting, error) {
			return greeting{}, errors.New("just so")
		}),
	}
}

// pair returns the tables of a cluster of n1 and n2, seen from n1.
func pair(t *testing.T) (*Table, *fakeRouter) {
	t.Helper()
	open := make(chan struct{})
	close(open)
	tables := map[string]*Table{}
	var first *fakeRouter
	for _, node := range []string{"n1", "n2"} {
		r := &fakeRouter{self: node, tables: tables, ready: open, targets: []Target{{Node: "n1"}, {Node: "n2"}}}
		table, err := NewTable(r, slog.New(slog.DiscardHandler), greet(node)...)
		require.NoError(t, err)
		tables[node] = table
		if first == nil {
			first = r
		}
	}
	return tables["n1"], first
}

func invoke(t *testing.T, table *Table, method, params string) (greeting, error) {
	t.Helper()
	raw, err := table.Invoke(t.Context(), Request{Method: "greet." + method, Params: json.RawMessage(params), Caller: Caller{Via: "test"}})
	var g greeting
	if err == nil {
		require.NoError(t, json.Unmarshal(raw, &g))
	}
	return g, err
}

func TestInvokeRunsWhereTheOperationBelongs(t *testing.T) {
	table, r := pair(t)
	for _, tc := range []struct{ method, params, by string }{
		{"here", `{"name":"n2"}`, "n1"},
		{"here", `{"name":"x","node":"n2"}`, "n2"},
		{"here", `{"name":"x","node":"n1"}`, "n1"},
		{"owner", `{"name":"n1"}`, "n1"},
		{"owner", `{"name":"n2"}`, "n2"},
		{"all", `{"name":"x"}`, "n1n2"},
	} {
		g, err := invoke(t, table, tc.method, tc.params)
		require.NoError(t, err, tc)
		require.Equal(t, tc.by, g.By, tc)
	}
	_, err := invoke(t, table, "owner", `{"name":"nobody"}`)
	require.Equal(t, errs.NotFound, errs.KindOf(err))
	_, err = invoke(t, table, "here", `{"name":"x","node":"n9"}`)
	require.Equal(t, errs.NodeUnavailable, errs.KindOf(err))

	r.targets = []Target{{Node: "n1"}, {Node: "n3", Err: errs.New(errs.NodeUnavailable, "suspected")}, {Node: "n9"}}
	g, err := invoke(t, table, "all", `{"name":"x"}`)
	require.NoError(t, err)
	require.Equal(t, "n1", g.By)
	require.Equal(t, []NodeError{
		{"n3", errs.NodeUnavailable, "suspected"}, {"n9", errs.NodeUnavailable, "node n9 is dead"},
	}, g.Errs)
}

func TestParametersAreDecodedStrictly(t *testing.T) {
	table, _ := pair(t)
	g, err := invoke(t, table, "here", ` {"name":"a","times":2,"mood":"sad","loud":true,"tags":["x"],"extra":{"deep":1},"timeout_ms":100} `)
	require.NoError(t, err)
	require.Equal(t, "hello a hello a sad", g.Text)
	for _, tc := range []struct{ params, param, says string }{
		{``, "name", "missing"},
		{`{"name":null}`, "name", "missing"},
		{`[1]`, "", "by name"},
		{`7`, "", "by name"},
		{`{"name":"a"`, "", "not valid JSON"},
		{`{"name":"a"} x`, "", "not valid JSON"},
		{`{"name":"a","nam":"b"}`, "nam", "unknown; known are: name, times, mood, loud, tags, extra, node, timeout_ms"},
		{`{"name":"a","name":"b"}`, "name", "given twice"},
		{`{"name":7}`, "name", "must be a string, not a JSON number"},
		{`{"name":""}`, "name", "at least 1 bytes long"},
		{`{"name":"123456789"}`, "name", "at most 8 bytes long"},
		{`{"name":"a","times":"2"}`, "times", "must be an integer, not a JSON string"},
		{`{"name":"a","times":1.5}`, "times", "must be an integer"},
		{`{"name":"a","times":0}`, "times", "at least 1"},
		{`{"name":"a","times":4}`, "times", "at most 3"},
		{`{"name":"a","mood":"mad"}`, "mood", `one of glad, sad, not "mad"`},
		{`{"name":"a","loud":1}`, "loud", "true or false"},
		{`{"name":"a","tags":"x"}`, "tags", "an array"},
		{`{"name":"a","extra":[]}`, "extra", "an object"},
		{`{"name":"a","extra":{"shallow":1}}`, "extra", `unknown field "shallow"`},
		{`{"name":"a","node":7}`, "node", "name of a node"},
		{`{"name":"a","timeout_ms":0}`, "timeout_ms", "between 1 and"},
		{`{"name":"a","timeout_ms":"x"}`, "timeout_ms", "between 1 and"},
	} {
		_, err := invoke(t, table, "here", tc.params)
		e := errs.From(err)
		require.NotNil(t, e, tc.params)
		require.Equal(t, errs.BadParameter, e.Kind, tc.params)
		require.Equal(t, tc.param, e.Param, tc.params)
		require.Contains(t, e.Message, tc.says, tc.params)
	}
	_, err = invoke(t, table, "nothing", `{}`)
	require.Equal(t, errs.MethodNotFound, errs.KindOf(err))
}

func TestTextIsCoercedByTheType(t *testing.T) {
	table, _ := pair(t)
	o, err := table.Op("greet.here")
	require.NoError(t, err)
	for _, tc := range []struct {
		name   string
		values []string
		want   string
	}{
		{"name", []string{"7"}, `"7"`},
		{"times", []string{"7"}, `7`},
		{"loud", []string{""}, `true`},
		{"loud", []string{"0"}, `false`},
		{"tags", []string{"a,b", "c"}, `["a","b","c"]`},
		{"extra", []string{`{"deep":1}`}, `{"deep":1}`},
		{"node", []string{"n1"}, `"n1"`},
		{"timeout_ms", []string{"5"}, `5`},
	} {
		raw, err := o.FromText(tc.name, tc.values)
		require.NoError(t, err, tc)
		require.Equal(t, tc.want, string(raw), tc)
	}
	for name, values := range map[string][]string{
		"times": {"x"}, "loud": {"x"}, "extra": {"{"}, "what": {"x"}, "name": {"a", "b"}, "timeout_ms": {"soon"},
	} {
		_, err := o.FromText(name, values)
		require.Equal(t, name, errs.From(err).Param, name)
	}
	require.True(t, o.Takes("node"))
	require.True(t, o.Takes("mood"))
	require.False(t, o.Takes("moon"))
}

// TestTextThatIsNoJSON: the error shows how a string is written.
func TestTextThatIsNoJSON(t *testing.T) {
	o := Define(Spec{Name: "any.put", Summary: "Echo", Method: "PUT", Path: "/any", Effect: Write, Runs: Anywhere},
		func(context.Context, struct {
			Word  string          `json:"word"`
			Value json.RawMessage `json:"value"`
		}) (any, error) {
			return nil, nil
		})
	for text, want := range map[string]string{
		"hello":                        `must be JSON, and "hello" is not; a string is written with its quotes: '"hello"'`,
		"it's":                         `must be JSON, and "it's" is not; a string is written with its quotes: '"text"'`,
		"\xff":                         `must be JSON, and "\xff" is not`,
		"[" + strings.Repeat("x", 100): `must be JSON, and "[` + strings.Repeat("x", 59) + `"… is not; a string is written with its quotes: '"text"'`,
	} {
		_, err := o.FromText("value", []string{text})
		require.ErrorContains(t, err, want)
	}
	raw, err := o.FromText("value", []string{`"hello"`})
	require.NoError(t, err)
	require.Equal(t, `"hello"`, string(raw))
	_, err = o.FromText("word", []string{"a\xff"})
	require.ErrorContains(t, err, `must be UTF-8, and "a\xff" is not`)
}

func TestErrorsOfHandlersHaveAKind(t *testing.T) {
	table, _ := pair(t)
	_, err := invoke(t, table, "panic", `{"name":"x"}`)
	require.Equal(t, errs.Internal, errs.KindOf(err))
	require.ErrorContains(t, err, "ouch")
	_, err = invoke(t, table, "fail", `{"name":"x"}`)
	require.Equal(t, errs.Internal, errs.KindOf(err))
	_, err = invoke(t, table, "slow", `{"name":"x","timeout_ms":5}`)
	require.Equal(t, errs.Timeout, errs.KindOf(err))
	require.ErrorContains(t, err, "greet.slow did not answer within 5 ms")
	_, err = invoke(t, table, "slow", `{"name":"x","timeout_ms":5,"node":"n2"}`)
	require.Equal(t, errs.Timeout, errs.KindOf(err))

	stats := table.Stats()
	require.Len(t, stats, 3)
	require.Equal(t, "greet.slow", stats[2].Name)
	require.EqualValues(t, 2, stats[2].Calls)
	require.Equal(t, 2, stats[2].Failures[errs.Timeout])
}

func TestJoiningGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, r := pair(t)
		r.ready = make(chan struct{})
		_, err := invoke(t, table, "here", `{"name":"x"}`)
		require.Equal(t, errs.NotReady, errs.KindOf(err))
		_, err = invoke(t, table, "here", `{"name":"x","node":"n1","timeout_ms":7}`)
		require.Equal(t, errs.NotReady, errs.KindOf(err))

		r.peer = "n2"
		g, err := invoke(t, table, "here", `{"name":"x"}`)
		require.NoError(t, err)
		require.Equal(t, "n2", g.By, "a read goes to a member that has joined")

		time.AfterFunc(time.Second, func() { close(r.ready) })
		g, err = invoke(t, table, "write", `{"name":"x"}`)
		require.NoError(t, err)
		require.Equal(t, "n1", g.By, "a write waits until this node has joined")
	})
}

func TestRunRefusesWhatNoNodeSends(t *testing.T) {
	table, _ := pair(t)
	for _, f := range []Forwarded{
		{Method: "no.such", TimeoutMS: 1},
		{Method: "greet.here"},
		{Method: "greet.here", TimeoutMS: 1, Params: json.RawMessage(`[`)},
		{Method: "greet.here", TimeoutMS: 1, Params: json.RawMessage(`{"x":1}`)},
	} {
		_, err := table.Run(t.Context(), f)
		require.Error(t, err)
	}
}

func TestDefinitionsAreChecked(t *testing.T) {
	good := Spec{Name: "a.b", Summary: "s", Method: "GET", Path: "/a", Effect: Read, Runs: Anywhere}
	run := func(context.Context, struct{}) (string, error) { return "", nil }
	require.NotPanics(t, func() { Define(good, run) })
	for name, change := range map[string]func(*Spec){
		"no summary":  func(s *Spec) { s.Summary = "" },
		"no owner":    func(s *Spec) { s.Runs = OnOwner },
		"no merge":    func(s *Spec) { s.Runs = Everywhere },
		"stray param": func(s *Spec) { s.Path = "/a/:x" },
	} {
		bad := good
		change(&bad)
		require.Panics(t, func() { Define(bad, run) }, name)
	}
	_, err := NewTable(nil, nil, Define(good, run), Define(good, run))
	require.ErrorContains(t, err, "share the route")
	other := good
	other.Path = "/b"
	_, err = NewTable(nil, nil, Define(good, run), Define(other, run))
	require.ErrorContains(t, err, "defined twice")
}

func TestDocuments(t *testing.T) {
	table, _ := pair(t)
	info := Info{Title: "t", Version: "1"}
	openapi, err := table.OpenAPI(info)
	require.NoError(t, err)
	require.Contains(t, string(openapi), `"/api/v1/greet/{name}/here"`)
	openrpc, err := table.OpenRPC(info)
	require.NoError(t, err)
	require.Contains(t, string(openrpc), `"name": "greet.here"`)
	again, err := table.OpenAPI(info)
	require.NoError(t, err)
	require.Equal(t, string(openapi), string(again), "the document must not depend on map order")
}
