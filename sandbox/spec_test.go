package sandbox_test

import (
	"encoding/json"
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
	_, err := sandbox.Parse([]byte(`{"id": "Shop", "labels": 1, "strategy": "rest_for_one", "max_restarts": -1, "max_seconds": 0.5,
		"colour": "red", "colour": "blue", "id": "x",
		"children": [
			{"id": "a", "run": {"exec": []}, "restart": "often", "shutdown_ms": -5, "env": {"A=B": "", "GLASSBOX_PID": "1"}, "limits": {"pids": "x"}},
			{"id": "a", "run": {"exec": ["./x"], "dir": "y", "shell": true}, "name": "n\u0007"},
			{"id": "", "run": {"exec": ["", "b\u0000"]}},
			{"id": "w/", "strategy": "one_for_one", "children": []},
			{"id": "e"}, 7
		],
		"isolation": "process", "network": "moon", "mounts": [{"source": "/", "x/y~": 1}], "placement": {"spread": true}, "failover": "majority"}`))
	require.Equal(t, errs.BadSpec, errs.KindOf(err))
	got := make(map[string]string)
	for _, f := range errs.From(err).Faults {
		got[f.Pointer] = f.Message
	}
	for _, at := range []string{
		"/id", "/labels", "/strategy", "/max_restarts", "/max_seconds", "/colour",
		"/children/0/run/exec", "/children/0/restart", "/children/0/shutdown_ms", "/children/0/env/A=B", "/children/0/env/GLASSBOX_PID",
		"/children/0/limits/pids", "/children/0/limits",
		"/children/1/id", "/children/1/run/exec/0", "/children/1/run/dir", "/children/1/run/shell", "/children/1/name",
		"/children/2/id", "/children/2/run/exec/0", "/children/2/run/exec/1", "/children/3/id", "/children/3", "/children/4/run", "/children/5",
		"/isolation", "/network", "/mounts", "/mounts/0/x~1y~0", "/placement/spread", "/failover",
	} {
		require.Contains(t, got, at)
		require.Contains(t, err.Error(), at)
	}
	require.Contains(t, got["/strategy"], "not in this version yet")
	require.Contains(t, got["/children/3"], "does not have nested supervisors")
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
