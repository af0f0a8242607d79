package sandbox_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/demo"
)

func TestParseDefaults(t *testing.T) {
	s, err := sandbox.Parse([]byte(`{"id": "shop", "labels": {"team": "a"}, "children": [{"id": "c", "run": {"exec": ["true"]}}]}`))
	require.NoError(t, err)
	raw, err := json.Marshal(s.WithDefaults())
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"shop","labels":{"team":"a"},"strategy":"one_for_one","max_restarts":3,"max_seconds":5,
		"children":[{"id":"c","run":{"exec":["true"],"dir":"/"},"restart":"permanent","shutdown_ms":5000}],
		"isolation":"auto","network":"host","failover":"any"}`, string(raw))
	again, err := sandbox.Parse(raw)
	require.NoError(t, err, "the effective spec is a spec")
	require.Equal(t, s.WithDefaults(), again)
}

func TestParseListsEveryFault(t *testing.T) {
	_, err := sandbox.Parse([]byte(`{"id": "Shop", "labels": 1, "strategy": "simple_one_for_one", "max_restarts": -1, "max_seconds": 0.5,
		"colour": "red", "colour": "blue", "id": "x",
		"children": [
			{"id": "a", "run": {"exec": []}, "restart": "often", "shutdown_ms": -5, "env": {"A=B": "", "GLASSBOX_PID": "1"}, "limits": {"pids": "x", "memory_mb": -1, "cpus": 5000}},
			{"id": "a", "run": {"exec": ["./x"], "dir": "y", "shell": true}, "name": "a\u0007", "protocol": "smtp"},
			{"id": "", "run": {"exec": ["", "b\u0000"]}},
			{"id": "w/", "strategy": "one_for_none", "children": [{"id": "x"}, {"id": "x"}], "run": {"exec": ["true"]}, "limits": {}},
			{"id": "e"}, 7
		],
		"isolation": "none", "network": "none", "failover": "majority", "placement": {"spread": true},
		"mounts": [{"source": "x", "target": "/", "x/y~": 1}, {"source": "/a", "target": "/proc/1"}, {"source": "/a", "target": "/b"}, {"source": "/a", "target": "/b/"}]}`))
	require.Equal(t, errs.BadSpec, errs.KindOf(err))
	got := make(map[string]string)
	for _, f := range errs.From(err).Faults {
		got[f.Pointer] = f.Message
	}
	for _, at := range []string{
		"/id", "/labels", "/strategy", "/max_restarts", "/max_seconds", "/colour",
		"/children/0/run/exec", "/children/0/restart", "/children/0/shutdown_ms", "/children/0/env/A=B", "/children/0/env/GLASSBOX_PID",
		"/children/0/limits/pids", "/children/0/limits/memory_mb", "/children/0/limits/cpus",
		"/children/1/id", "/children/1/run/exec/0", "/children/1/run/dir", "/children/1/run/shell", "/children/1/name", "/children/1/protocol",
		"/children/2/id", "/children/2/run/exec/0", "/children/2/run/exec/1",
		"/children/3/id", "/children/3/strategy", "/children/3/run", "/children/3/limits", "/children/3/children/0/run", "/children/3/children/1/id",
		"/children/4/run", "/children/5",
		"/network", "/mounts/0/x~1y~0", "/mounts/0/source", "/mounts/0/target", "/mounts/1/target", "/mounts/3/target",
		"/placement/spread", "/failover",
	} {
		require.Contains(t, got, at)
		require.Contains(t, err.Error(), at)
	}
	require.Contains(t, got["/failover"], "not in this version yet")
	require.NotContains(t, got, "/children/5/id", "nothing more is told of what could not be read")
}

// TestParseTrees: supervisors below supervisors have bounds, and their defaults.
func TestParseTrees(t *testing.T) {
	s, err := sandbox.Parse([]byte(`{"id": "a", "children": [{"id": "w", "children": []}, {"id": "v", "strategy": "rest_for_one"}]}`))
	require.NoError(t, err, "a supervisor may have no children yet")
	s = s.WithDefaults()
	require.Equal(t, "one_for_one", s.Children[0].Strategy)
	require.Equal(t, 3, *s.Children[0].MaxRestarts)
	require.Nil(t, s.Children[0].ShutdownMS)
	_, err = sandbox.Parse([]byte(`{"id": "a"}`))
	require.ErrorContains(t, err, "/children: is missing")
	deep, many := `{"id": "x", "run": {"exec": ["true"]}}`, ""
	for range 8 {
		deep = `{"id": "s", "children": [` + deep + `]}`
	}
	_, err = sandbox.Parse([]byte(`{"id": "a", "children": [` + deep + `]}`))
	require.ErrorContains(t, err, "make the tree flatter")
	for i := range 200 {
		many += fmt.Sprintf(`{"id": "c%d", "run": {"exec": ["true"]}},`, i)
	}
	many = strings.TrimSuffix(many, ",")
	_, err = sandbox.Parse([]byte(`{"id": "a", "children": [{"id": "s", "children": [` + many + `]}, {"id": "r", "children": [` + many + `]}]}`))
	require.ErrorContains(t, err, "402 children")
}

// TestParseTexts: labels and environment are texts, each name once, and labels
// are for finding, not for storing.
func TestParseTexts(t *testing.T) {
	for pointer, field := range map[string]string{
		"/labels/a":         `"labels": {"a": null}`,
		"/labels/b":         `"labels": {"b": "x", "b": "x"}`,
		"/labels":           `"labels": {"bulk": "` + strings.Repeat("x", 5000) + `"}`,
		"/labels/":          `"labels": {"": "x"}`,
		"/children/0/env":   `"children": [{"id": "c", "run": {"exec": ["true"]}, "env": []}]`,
		"/children/0/env/A": `"children": [{"id": "c", "run": {"exec": ["true"]}, "env": {"A": 1}}]`,
	} {
		_, err := sandbox.Parse([]byte(`{"id": "x", ` + field + `}`))
		require.Equal(t, errs.BadSpec, errs.KindOf(err), field)
		require.Contains(t, err.Error(), pointer+": ")
	}
}

func TestParseNoJSON(t *testing.T) {
	for _, raw := range []string{"", "{", "{} {}", `{"id": }`, "[1]", "null", `"x"`} {
		_, err := sandbox.Parse([]byte(raw))
		require.Equal(t, errs.BadSpec, errs.KindOf(err), raw)
		require.NotEmpty(t, errs.From(err).Faults)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id": "a", "children": [{"id": "c", "run": {"exec": ["true"]}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := sandbox.Parse(raw)
		if err == nil {
			require.NoError(t, s.Validate())
			require.NoError(t, s.WithDefaults().Validate())
		}
	})
}

func TestDemoSpecIsValid(t *testing.T) {
	require.NoError(t, demo.Spec("/usr/bin/glassbox").Validate())
}

func TestNodeOfPID(t *testing.T) {
	for pid, want := range map[string]string{
		"n1.3w5e11264sgsf.z": "n1", "rack.7.n2.a.b": "rack.7.n2", "n1.1": "", "n1.1.": "", "": "", ".1.1": "", "n1.A.1": "", "n1.1.+1": "", "n1.-1.1": "",
	} {
		node, ok := sandbox.NodeOfPID(pid)
		require.Equal(t, want != "", ok, pid)
		if ok {
			require.Equal(t, want, node)
		}
	}
}
