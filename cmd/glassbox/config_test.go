package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// line finds the line of a table that begins with a word.
func line(t *testing.T, text, word string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == word {
			return strings.Join(fields, " ")
		}
	}
	require.Fail(t, "no such line", "%s in\n%s", word, text)
	return ""
}

// TestSettings: flags win over the environment, the environment over the file,
// the file over the defaults.
func TestSettings(t *testing.T) {
	s := newShell(t)
	file := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(file, []byte("name: n3\ncluster: c\nhistory: 7\nping_every: 100ms\npeers:\n  n1: 127.0.0.1:1\n  n2: 127.0.0.1:2\n"), 0o600))
	s.env["GLASSBOX_CLUSTER"], s.env["GLASSBOX_HISTORY"], s.env["GLASSBOX_CONFIG"] = "d", "8", file
	out := s.ok("config", "--history", "9")
	require.Equal(t, "name n3 "+file, line(t, out, "name"))
	require.Equal(t, "cluster d GLASSBOX_CLUSTER", line(t, out, "cluster"))
	require.Equal(t, "history 9 --history", line(t, out, "history"))
	require.Equal(t, "ping_every 100ms "+file, line(t, out, "ping_every"))
	require.Equal(t, "peers n1=127.0.0.1:1,n2=127.0.0.1:2 "+file, line(t, out, "peers"))
	require.Equal(t, "http 127.0.0.1:4000 default", line(t, out, "http"))

	var all map[string]struct {
		Value  any
		Source string
	}
	require.NoError(t, json.Unmarshal([]byte(s.ok("config", "-o", "json")), &all))
	require.EqualValues(t, 8, all["history"].Value)
	require.Equal(t, map[string]any{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2"}, all["peers"].Value)
	require.Equal(t, "100ms", all["ping_every"].Value)
}

func TestSettingsFaults(t *testing.T) {
	s := newShell(t)
	file := filepath.Join(t.TempDir(), "node.json")
	for content, want := range map[string]string{
		`{"nmae": "n1"}`:            `unknown setting "nmae"; known are name, cluster`,
		`{"history": "many"}`:       `setting "history"`,
		`{"name": ["a"]}`:           "is a list",
		`{"name": null}`:            "has no value",
		`{"name": `:                 "neither YAML nor JSON",
		`{"peers": {"n2": "here"}}`: "NAME=HOST:PORT",
		`{"log_level": "loud"}`:     "debug, info, warn or error",
	} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		s.fails(2, want, "serve", "--config", file)
	}
	s.fails(2, "cannot be read", "config", "--config", file+"x")
	s.fails(2, "given twice", "serve", "--peer", "n2=127.0.0.1:1", "--peer", "n2=127.0.0.1:2")
	s.fails(2, "NAME=HOST:PORT", "serve", "--peer", "127.0.0.1:1")
	s.fails(2, "NAME=HOST:PORT", "serve", "--peer", "n2=1")
	s.fails(2, "n1", "serve", "--name", "n1", "--peer", "n1=127.0.0.1:9")
	s.fails(2, "--token-file", "config", "--http", "0.0.0.0:80")
	s.fails(2, "debug, info, warn or error", "config", "--log-level", "chatty")
	for _, command := range []string{"config", "serve"} {
		s.fails(2, `"http": 127.0.0.1:70000 has the port "70000"; ports are 0 to 65535`, command, "--http", "127.0.0.1:70000")
		s.fails(2, `"rpc"`, command, "--rpc", "127.0.0.1:-1")
		s.fails(2, `"advertise"`, command, "--advertise", "10.0.0.1:x")
		s.fails(2, `"peers: n2"`, command, "--peer", "n2=127.0.0.1:70000")
	}
	s.env["GLASSBOX_HISTORY"] = "x"
	s.fails(2, "GLASSBOX_HISTORY", "config")
}
