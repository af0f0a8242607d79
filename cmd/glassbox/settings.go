package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/node"
)

// settings fill a node's configuration: from flags, otherwise from the
// environment, otherwise from a file, otherwise by default.
type settings struct {
	cfg   node.Config
	file  string
	flags *pflag.FlagSet
	names []string // of the flags, in their order
}

// newSettings makes the flags of a node's configuration. The flag of a field
// is its name in the file with - for _; but peers is --peer, given once for
// each.
func newSettings(cfg node.Config) *settings {
	s := &settings{cfg: cfg, flags: pflag.NewFlagSet("node", pflag.ContinueOnError)}
	f, c := s.flags, &s.cfg
	f.SortFlags = false
	f.StringVar(&c.Name, "name", c.Name, "this node's name, unique in its cluster")
	f.StringVar(&c.Cluster, "cluster", c.Cluster, "the cluster's name; nodes of another one are refused")
	f.StringVar(&c.HTTP, "http", c.HTTP, "address of the API; any but loopback needs --token-file")
	f.StringVar(&c.RPC, "rpc", c.RPC, "address for the other nodes; any but loopback needs --secret-file")
	f.StringVar(&c.Advertise, "advertise", c.Advertise, "address the other nodes are told, if it is not --rpc")
	f.Var(peers(c.Peers), "peer", "another node, as NAME=HOST:PORT; give it once for each")
	f.StringVar(&c.SecretFile, "secret-file", c.SecretFile, "file with the secret that the cluster's nodes share")
	f.StringVar(&c.TokenFile, "token-file", c.TokenFile, "file with the token that clients must show")
	f.StringVar(&c.Preset, "preset", c.Preset, "times of failure detection: local, lan or wan")
	f.DurationVar(&c.PingEvery, "ping-every", c.PingEvery, "time between two pings, in place of the preset's")
	f.DurationVar(&c.SuspectAfter, "suspect-after", c.SuspectAfter, "silence before a node is suspected, in place of the preset's")
	f.DurationVar(&c.DeadAfter, "dead-after", c.DeadAfter, "silence before a node is dead, in place of the preset's")
	f.DurationVar(&c.DrainTimeout, "drain-timeout", c.DrainTimeout, "how long a stopping node waits for its sandboxes")
	f.IntVar(&c.MaxMessage, "max-message", c.MaxMessage, "bound on a message and on a request's body, in bytes")
	f.IntVar(&c.History, "history", c.History, "how many events are remembered")
	f.StringVar(&c.RequireIsolation, "require-isolation", c.RequireIsolation, "refuse programs that would run with less: none, process or namespaces")
	f.StringVar(&c.SandboxUsers, "sandbox-users", c.SandboxUsers, "users, FIRST-LAST, of which each sandbox is given one, if the node runs as root")
	f.IntVar(&c.MaxProcesses, "max-processes", c.MaxProcesses, "how many programs may run here")
	f.StringVar(&c.DataDir, "data-dir", c.DataDir, "folder that keeps this node's sandboxes for its next start; without it nothing is kept")
	f.BoolVar(&c.AllowFaults, "allow-faults", c.AllowFaults, "let the operations fault.* break this node's links on purpose")
	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", c.LogFormat, "text or json")
	f.VisitAll(func(flag *pflag.Flag) { s.names = append(s.names, flag.Name) })
	f.StringVar(&s.file, "config", "", "file with these settings, YAML or JSON")
	return s
}

// resolve fills what the flags did not say and returns where each value came
// from.
func (s *settings) resolve(getenv func(string) string) (sources map[string]string, err error) {
	given := map[string]string{}
	for _, name := range s.names {
		given[name] = "default"
		if s.flags.Changed(name) {
			given[name] = "--" + name
		}
	}
	fromEnv, err := fromEnvironment(s.flags, getenv, append(s.names, "config")...)
	if err != nil {
		return nil, err
	}
	maps.Copy(given, fromEnv)
	delete(given, "config")
	if s.file != "" {
		if err := s.fromFile(given); err != nil {
			return nil, err
		}
	}
	return given, nil
}

// fromFile sets what is still at its default.
func (s *settings) fromFile(sources map[string]string) error {
	raw, err := os.ReadFile(s.file)
	if err != nil {
		return errs.Wrap(errs.BadParameter, err, "the configuration cannot be read")
	}
	var content map[string]any
	if err := yaml.Unmarshal(raw, &content); err != nil {
		return errs.Wrap(errs.BadParameter, err, "%s is neither YAML nor JSON", s.file)
	}
	for _, key := range slices.Sorted(maps.Keys(content)) {
		name := flagOf(key)
		if !slices.Contains(s.names, name) {
			return errs.New(errs.BadParameter, "%s: unknown setting %q; known are %s", s.file, key, strings.Join(s.keys(), ", "))
		}
		if sources[name] != "default" {
			continue
		}
		text, err := settingText(content[key])
		if err == nil {
			err = s.flags.Set(name, text)
		}
		if err != nil {
			return errs.Wrap(errs.BadParameter, err, "%s: setting %q", s.file, key)
		}
		sources[name] = s.file
	}
	return nil
}

func flagOf(key string) string {
	if key == "peers" {
		return "peer"
	}
	return strings.ReplaceAll(key, "_", "-")
}

func keyOf(flag string) string {
	if flag == "peer" {
		return "peers"
	}
	return strings.ReplaceAll(flag, "-", "_")
}

func (s *settings) keys() []string {
	keys := make([]string, len(s.names))
	for i, name := range s.names {
		keys[i] = keyOf(name)
	}
	return keys
}

// settingText writes a value of the file as a flag has it.
func settingText(value any) (string, error) {
	switch value := value.(type) {
	case map[string]any:
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(value)) {
			pairs = append(pairs, fmt.Sprintf("%s=%v", name, value[name]))
		}
		return strings.Join(pairs, ","), nil
	case []any:
		return "", errs.New(errs.BadParameter, "is a list; write \"name: value\" pairs or one value")
	case nil:
		return "", errs.New(errs.BadParameter, "has no value")
	default:
		return fmt.Sprint(value), nil
	}
}

// value returns a setting as text, and for JSON.
func (s *settings) value(name string) (text string, value any) {
	raw, err := json.Marshal(s.cfg)
	var all map[string]any
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	flag := s.flags.Lookup(name)
	if err != nil || flag.Value.Type() == "duration" {
		return flag.Value.String(), flag.Value.String()
	}
	return flag.Value.String(), all[keyOf(name)]
}

// peers is the flag of the static addresses.
type peers map[string]string

func (p peers) String() string {
	pairs := make([]string, 0, len(p))
	for _, name := range slices.Sorted(maps.Keys(p)) {
		pairs = append(pairs, name+"="+p[name])
	}
	return strings.Join(pairs, ",")
}

// Set adds one or, separated by commas, several.
func (p peers) Set(text string) error {
	for pair := range strings.SplitSeq(text, ",") {
		name, addr, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return errs.New(errs.BadParameter, "%q is not NAME=HOST:PORT", pair)
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return errs.New(errs.BadParameter, "%q is not NAME=HOST:PORT", pair)
		}
		if other, twice := p[name]; twice {
			return errs.New(errs.BadParameter, "peer %s is given twice, at %s and at %s; give each once", name, other, addr)
		}
		p[name] = addr
	}
	return nil
}

func (p peers) Type() string { return "name=addr" }
