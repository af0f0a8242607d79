package node

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// Config is everything a node can be told. The same fields are filled from
// flags, the environment and a file; the names are in the tags.
type Config struct {
	// Name is this node's name in the cluster, unique among its peers: 1 to 63
	// of a-z, 0-9 and "-".
	Name string `json:"name"`
	// Cluster is the cluster's name. Nodes of another cluster are refused.
	Cluster string `json:"cluster"`
	// HTTP is the address of the API for people and clients. Anything but a
	// loopback address needs TokenFile.
	HTTP string `json:"http"`
	// RPC is the address for the other nodes and for JSON-RPC clients.
	// Anything but a loopback address needs SecretFile.
	RPC string `json:"rpc"`
	// Advertise is the host:port that the other nodes are told to reach this
	// one at; empty means the address it listens on.
	Advertise string `json:"advertise"`
	// Peers are the static addresses of the other nodes by name. The same list
	// may be given to every node: its own entry is left out if it is RPC.
	Peers map[string]string `json:"peers"`
	// SecretFile holds the secret that the nodes of a cluster share; white
	// space around it is ignored. Empty means none.
	SecretFile string `json:"secret_file"`
	// TokenFile holds the token that clients of the API must show. Empty means
	// that loopback clients need none.
	TokenFile string `json:"token_file"`
	// Preset sets the three times of failure detection: local, lan or wan.
	Preset string `json:"preset"`
	// PingEvery, SuspectAfter and DeadAfter replace the preset's values; zero
	// keeps them.
	PingEvery    time.Duration `json:"ping_every"`
	SuspectAfter time.Duration `json:"suspect_after"`
	DeadAfter    time.Duration `json:"dead_after"`
	// DrainTimeout bounds how long a stopping node waits for its sandboxes to
	// shut down before it kills them.
	DrainTimeout time.Duration `json:"drain_timeout"`
	// MaxMessage bounds one JSON-RPC message and one HTTP body, in bytes: at
	// least 1 MiB, which a batch of changes of other nodes can have. It is to be
	// the same on all nodes.
	MaxMessage int `json:"max_message"`
	// History is how many events a node remembers.
	History int `json:"history"`
	// MaxProcesses is how many programs this node runs at most.
	MaxProcesses int `json:"max_processes"`
	// RequireIsolation is the weakest isolation that programs are run with: none,
	// process or namespaces. Weaker ones are refused, and so is the start of a node on
	// a machine that cannot do it.
	RequireIsolation string `json:"require_isolation"`
	// SandboxUsers are the users, FIRST-LAST, of which a node that runs as root gives
	// each sandbox one. Nobody else may have them.
	SandboxUsers string `json:"sandbox_users"`
	// DataDir is the folder in which this node keeps the specs of its sandboxes, and
	// what was destroyed while others were away: they survive its end, and are
	// started again with it. Empty means that nothing is kept. It is one node's.
	DataDir string `json:"data_dir"`
	// AllowFaults lets the operations fault.* break this node's links on
	// purpose. For trying things out: never where the cluster is relied on.
	AllowFaults bool `json:"allow_faults"`
	// LogLevel is debug, info, warn or error; LogFormat is text or json.
	LogLevel  string `json:"log_level"`
	LogFormat string `json:"log_format"`
}

// DefaultConfig returns the values in force where nothing else is said.
func DefaultConfig() Config {
	return Config{
		Name:         "n1",
		Cluster:      "glassbox",
		HTTP:         "127.0.0.1:4000",
		RPC:          "127.0.0.1:4100",
		Peers:        map[string]string{},
		Preset:       "lan",
		DrainTimeout: 10 * time.Second,
		MaxMessage:   4 << 20,
		History:      10_000,
		MaxProcesses: sandbox.DefaultMaxProcesses,

		RequireIsolation: sandbox.IsolationNone,
		SandboxUsers:     "900000000-999999999",

		LogLevel:  "info",
		LogFormat: "text",
	}
}

// Validate says what is wrong with the configuration as a whole, naming the
// field and what to do; nil if nothing is. It opens no file and no socket.
func (c Config) Validate() error {
	if err := addressSafe("http", c.HTTP, c.TokenFile, "a token for its clients (--token-file)"); err != nil {
		return err
	}
	if err := addressSafe("rpc", c.RPC, c.SecretFile, "the cluster's secret (--secret-file)"); err != nil {
		return err
	}
	if err := c.validatePorts(); err != nil {
		return err
	}
	switch {
	case new(slog.Level).UnmarshalText([]byte(c.LogLevel)) != nil:
		return errs.BadParam("log_level", "debug, info, warn or error, not %q", c.LogLevel)
	case c.MaxMessage < minMessage:
		return errs.BadParam("max_message", "at least %d bytes are needed, not %d: nodes send each other that much at once", minMessage, c.MaxMessage)
	case c.History < 1:
		return errs.BadParam("history", "at least 1 event must be remembered, not %d", c.History)
	case c.MaxProcesses < 1:
		return errs.BadParam("max_processes", "at least 1, not %d", c.MaxProcesses)
	case isolation.Rank(c.RequireIsolation) < 0:
		return errs.BadParam("require_isolation", "none, process or namespaces, not %q", c.RequireIsolation)
	case c.DrainTimeout < 0:
		return errs.BadParam("drain_timeout", "0 or more, not %s", c.DrainTimeout)
	case c.LogFormat != "text" && c.LogFormat != "json":
		return errs.BadParam("log_format", "text or json, not %q", c.LogFormat)
	}
	if _, _, err := userRange(c.SandboxUsers); err != nil {
		return err
	}
	_, err := c.membership()
	return err
}

// userRange reads FIRST-LAST.
func userRange(text string) (first, count int, err error) {
	var last int
	if n, err := fmt.Sscanf(text, "%d-%d", &first, &last); n != 2 || err != nil || fmt.Sprintf("%d-%d", first, last) != text {
		return 0, 0, errs.BadParam("sandbox_users", "is %q: give two numbers, FIRST-LAST, such as 900000000-999999999", text)
	}
	const noUser = 1<<32 - 1 // what chown(2) takes for "no change"
	if first < 1 || last < first || last >= noUser {
		return 0, 0, errs.BadParam("sandbox_users", "is %q: FIRST is at least 1, LAST not below it, and less than %d", text, noUser)
	}
	return first, last - first + 1, nil
}

// validatePorts finds ports that there cannot be.
func (c Config) validatePorts() error {
	addrs := map[string]string{"http": c.HTTP, "rpc": c.RPC, "advertise": c.Advertise}
	for name, addr := range c.Peers {
		addrs["peers: "+name] = addr
	}
	for _, field := range slices.Sorted(maps.Keys(addrs)) {
		_, port, err := net.SplitHostPort(addrs[field])
		if err != nil {
			continue // told by whoever knows what the address is for
		}
		if _, err := net.LookupPort("tcp", port); err != nil {
			return errs.BadParam(field, "%s has the port %q; ports are 0 to 65535", addrs[field], port)
		}
	}
	return nil
}

// minMessage is the smallest bound on messages that replication fits.
const minMessage = 1 << 20

// addressSafe refuses an address that other machines can reach when nothing
// protects it.
func addressSafe(field, addr, file, protection string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return errs.BadParam(field, "%q is not an address; write HOST:PORT, such as 127.0.0.1:4000", addr)
	}
	if file == "" && !isLoopback(host) {
		return errs.BadParam(field, "%s can be reached from other machines, so it needs %s; "+
			"give one, or listen on 127.0.0.1", addr, protection)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// membership is the part of the configuration that package cluster takes.
func (c Config) membership() (cluster.Config, error) {
	m, err := cluster.Preset(c.Preset)
	if err != nil {
		return m, err
	}
	m.Cluster, m.Self, m.Addr = c.Cluster, c.Name, c.RPC
	if c.Advertise != "" {
		m.Addr = c.Advertise
	}
	m.Peers = map[string]string{}
	for name, addr := range c.Peers {
		if name != c.Name || addr != c.RPC && addr != m.Addr {
			m.Peers[name] = addr
		}
	}
	for _, override := range []struct {
		value time.Duration
		field *time.Duration
	}{{c.PingEvery, &m.PingEvery}, {c.SuspectAfter, &m.SuspectAfter}, {c.DeadAfter, &m.DeadAfter}} {
		if override.value != 0 {
			*override.field = override.value
		}
	}
	return m, m.Validate()
}

// readSecret returns the trimmed content of a file, nil if there is no file to
// read.
func readSecret(field, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "%s cannot be read", field)
	}
	secret := strings.TrimSpace(string(raw))
	if len(secret) < 8 {
		return nil, errs.BadParam(field, "%s holds %d characters; at least 8 are needed", file, len(secret))
	}
	return []byte(secret), nil
}

// logDir is the folder for what programs print; "" without a data folder.
func (c Config) logDir() string {
	if c.DataDir == "" {
		return ""
	}
	return filepath.Join(c.DataDir, "logs")
}
