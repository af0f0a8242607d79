package node_test

import (
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/fault"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/node"
	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// TestMain makes the test binary a visitor when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "visit" {
		visit(os.Args[2], os.Args[3])
		return
	}
	nodetest.Main(m)
}

// sleeper is a sandbox with one program that does nothing.
func sleeper(id string) map[string]any {
	return map[string]any{"id": id, "children": []any{
		map[string]any{"id": "a", "run": map[string]any{"exec": []string{"sleep", "600"}}, "shutdown_ms": 1000},
	}}
}

func worker(t *testing.T, n *nodetest.Node, id string) memdb.Process {
	t.Helper()
	list := nodetest.Call[operations.ProcessList](t, n, "process.list", map[string]any{"sandbox": id, "type": "worker"})
	require.Len(t, list.Processes, 1)
	return list.Processes[0].Process
}

// TestASandboxIsOneForTheWholeCluster: it is created through one node on
// another, and seen, killed and destroyed through the third.
func TestASandboxIsOneForTheWholeCluster(t *testing.T) {
	nodes := nodetest.Start(t, 3)
	n1, n3 := nodes[0], nodes[2]

	spec := sleeper("far")
	spec["placement"] = map[string]any{"node": "n2"}
	row := nodetest.Call[memdb.Sandbox](t, n1, "sandbox.create", spec)
	require.Equal(t, "n2", row.Node)
	require.Equal(t, memdb.SandboxRunning, row.Status)
	for _, n := range nodes { // acknowledged by all when create returns
		require.Equal(t, "n2", worker(t, n, "far").Node)
	}
	require.Equal(t, errs.AlreadyExists, errs.KindOf(n3.Client().Call(t.Context(), "sandbox.create", sleeper("far"), nil)))

	before := worker(t, n3, "far")
	nodetest.Call[operations.Killed](t, n3, "process.kill", map[string]any{"pid": before.PID})
	require.Eventually(t, func() bool {
		list := nodetest.Call[operations.ProcessList](t, n1, "process.list", map[string]any{"sandbox": "far", "state": "running", "type": "worker"})
		return len(list.Processes) == 1 && list.Processes[0].PID != before.PID && list.Processes[0].Restarts == 1
	}, 5*time.Second, 5*time.Millisecond, "its supervisor starts it again")

	logs := nodetest.Call[operations.ProcessLogs](t, n3, "process.logs", map[string]any{"pid": worker(t, n3, "far").PID})
	require.NotEmpty(t, logs.Entries)
	require.Equal(t, sandbox.System, logs.Entries[0].Stream)

	info := nodetest.Call[sandbox.Info](t, n1, "sandbox.info", map[string]any{"sandbox_id": "far"})
	require.Len(t, info.History, 1)
	require.Contains(t, info.History[0].Exit.By, "at n3", "who killed it is told")

	nodetest.Call[json.RawMessage](t, n3, "sandbox.destroy", map[string]any{"sandbox_id": "far"})
	for _, n := range nodes {
		require.Empty(t, nodetest.Call[operations.SandboxList](t, n, "sandbox.list", nil).Sandboxes)
		require.Equal(t, errs.NotFound, errs.KindOf(n.Client().Call(t.Context(), "sandbox.info", map[string]any{"sandbox_id": "far"}, nil)))
	}
}

// TestLeavingIsDraining: a node that leaves stops its sandboxes and says so;
// the others do not take it for dead. When it comes back nobody sees its past.
func TestLeavingIsDraining(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	n1, n2 := nodes[0], nodes[1]
	nodetest.Call[memdb.Sandbox](t, n2, "sandbox.create", sleeper("gone"))
	pid := worker(t, n1, "gone").OSPID
	require.NotZero(t, pid)

	nodetest.Call[operations.Leaving](t, n1, "node.leave", map[string]any{"node": "n2"})
	select {
	case <-n2.Ended():
	case <-time.After(10 * time.Second):
		require.FailNow(t, "n2 does not end")
	}
	require.NoDirExists(t, filepath.Join("/proc", jsonOf(t, pid)))
	state := func() string {
		return nodetest.Call[operations.ClusterStatus](t, n1, "cluster.status", nil).Nodes[1].Why
	}
	status := nodetest.Call[operations.ClusterStatus](t, n1, "cluster.status", nil)
	require.EqualValues(t, "left", status.Nodes[1].State, state())
	require.Equal(t, operations.Whole, status.Partition, "who said goodbye is not missed")
	require.Empty(t, nodetest.Call[operations.SandboxList](t, n1, "sandbox.list", nil).Sandboxes)
	require.Equal(t, errs.NodeUnavailable, errs.KindOf(n1.Client().Call(t.Context(), "node.ping", map[string]any{"node": "n2"}, nil)))

	reborn := nodetest.Run(t, n2.Config)
	reborn.WaitReady(t)
	require.Eventually(t, func() bool {
		return nodetest.Call[operations.ClusterStatus](t, n1, "cluster.status", nil).Alive == 2
	}, 5*time.Second, 5*time.Millisecond)
	require.Empty(t, nodetest.Call[operations.SandboxList](t, n1, "sandbox.list", nil).Sandboxes)
}

// TestDrainTimeout: programs that do not end in time are killed, so that the
// node ends.
func TestDrainTimeout(t *testing.T) {
	cfg := nodetest.Configs(t, 1)[0]
	cfg.DrainTimeout = 100 * time.Millisecond
	n := nodetest.Run(t, cfg)
	n.WaitReady(t)
	nodetest.Call[memdb.Sandbox](t, n, "sandbox.create", map[string]any{"id": "deaf", "children": []any{map[string]any{
		"id": "a", "run": map[string]any{"exec": []string{"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"}}, "shutdown_ms": 60_000,
	}}})
	deaf := worker(t, n, "deaf")
	require.Eventually(t, func() bool {
		return len(nodetest.Call[operations.ProcessLogs](t, n, "process.logs", map[string]any{"pid": deaf.PID, "stream": "stdout"}).Entries) == 1
	}, 5*time.Second, 5*time.Millisecond)
	begun := time.Now()
	require.NoError(t, n.Stop())
	require.Less(t, time.Since(begun), 5*time.Second)
	require.NoDirExists(t, filepath.Join("/proc", jsonOf(t, deaf.OSPID)))
	require.Contains(t, n.Log.String(), "their programs are killed")
}

// TestFaults: a link that is broken on purpose breaks nothing else, is told, and
// heals.
func TestFaults(t *testing.T) {
	nodes := nodetest.Start(t, 3, func(c *node.Config) { c.AllowFaults = true })
	n1, n2 := nodes[0], nodes[1]
	sees := func(n *nodetest.Node, member string, state cluster.State, reach cluster.Reach) func() bool {
		return func() bool {
			for _, m := range nodetest.Call[operations.ClusterStatus](t, n, "cluster.status", nil).Nodes {
				if m.Name == member && m.State == state && m.Reach == reach {
					return true
				}
			}
			return false
		}
	}
	rule := nodetest.Call[fault.Rule](t, n1, "fault.cut", map[string]any{"peer": "n2", "ttl_ms": 60_000})
	require.Equal(t, "f1", rule.ID)
	require.Eventually(t, sees(n1, "n2", cluster.Alive, "via n3"), 30*time.Second, 5*time.Millisecond)
	require.Eventually(t, sees(n2, "n1", cluster.Alive, "via n3"), 30*time.Second, 5*time.Millisecond)
	require.Len(t, nodetest.Call[operations.ClusterStatus](t, n1, "cluster.status", nil).Faults, 1)
	health := nodetest.Call[operations.ClusterHealth](t, nodes[2], "cluster.health", map[string]any{"node": "n1"})
	require.Contains(t, jsonOf(t, health.Nodes[0].Causes), `"kind":"fault","subject":"n2"`)

	// Calls and acknowledgements go through the third.
	nodetest.Call[memdb.Sandbox](t, n1, "sandbox.create", sleeper("there"))
	require.Len(t, nodetest.Call[operations.SandboxList](t, n2, "sandbox.list", nil).Sandboxes, 1)
	require.NoError(t, n1.Client().Call(t.Context(), "node.ping", map[string]any{"node": "n2"}, nil))

	healed := nodetest.Call[operations.Healed](t, n1, "fault.heal", nil)
	require.Len(t, healed.Healed, 1)
	require.Eventually(t, sees(n1, "n2", cluster.Alive, cluster.ReachDirect), 30*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool {
		return len(nodetest.Call[operations.SandboxList](t, n2, "sandbox.list", nil).Sandboxes) == 1
	}, 30*time.Second, 5*time.Millisecond)
	require.Positive(t, nodetest.Call[operations.Dropped](t, n1, "fault.drop", map[string]any{"peer": "n3"}).Connections)
	require.Eventually(t, sees(n1, "n3", cluster.Alive, cluster.ReachDirect), 30*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool {
		told := nodetest.Call[operations.EventList](t, n2, "event.list", map[string]any{"types": []string{"FaultInjected", "FaultHealed"}})
		return len(told.Events) == 2 && told.Events[1].Why == "healed by request"
	}, 30*time.Second, 5*time.Millisecond, "everybody is told")

	for kind, call := range map[errs.Kind][2]any{
		errs.NotFound:     {"fault.cut", map[string]any{"peer": "n9"}},
		errs.BadParameter: {"fault.delay", map[string]any{"peer": "n2", "ms": 0}},
	} {
		require.Equal(t, kind, errs.KindOf(n1.Client().Call(t.Context(), call[0].(string), call[1], nil)))
	}
	require.Equal(t, errs.NotFound, errs.KindOf(n1.Client().Call(t.Context(), "fault.heal", map[string]any{"id": "f9"}, nil)))
}

// TestFaultsAreOff unless the node was started with them.
func TestFaultsAreOff(t *testing.T) {
	n1 := nodetest.Start(t, 2)[0]
	require.Equal(t, errs.Forbidden, errs.KindOf(n1.Client().Call(t.Context(), "fault.cut", map[string]any{"peer": "n2"}, nil)))
	require.Equal(t, errs.Forbidden, errs.KindOf(n1.Client().Call(t.Context(), "fault.drop", map[string]any{"peer": "n2"}, nil)))
	require.Equal(t, operations.FaultList{Faults: []fault.Rule{}}, nodetest.Call[operations.FaultList](t, n1, "fault.list", nil))
	require.Empty(t, nodetest.Call[operations.Healed](t, n1, "fault.heal", nil).Healed)
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

// TestHealthNamesCauses: what is wrong is said in words to match on, by every
// node that sees it.
func TestHealthNamesCauses(t *testing.T) {
	configs := nodetest.Configs(t, 3)
	configs[1].Peers = map[string]string{"n1": configs[0].RPC} // n2 was not told of n3
	n1 := nodetest.Run(t, configs[0])
	n2 := nodetest.Run(t, configs[1])
	n1.WaitReady(t) // n3 is refused, so it is judged dead
	n2.WaitReady(t)
	require.Eventually(t, func() bool {
		health := nodetest.Call[operations.ClusterHealth](t, n1, "cluster.health", map[string]any{"include_metrics": true, "include_history": true})
		kinds := map[string]bool{}
		for _, n := range health.Nodes {
			require.NotNil(t, n.Metrics)
			require.Positive(t, n.Metrics.RSSBytes)
			require.Positive(t, n.Metrics.Goroutines)
			for _, c := range n.Causes {
				require.NotEmpty(t, c.Message)
				kinds[n.Node+" "+c.Kind+" "+c.Subject] = true
			}
		}
		return !health.Healthy && kinds["n1 member_dead n3"] && kinds["n1 peers_differ n2"] && kinds["n2 peers_differ n1"]
	}, 10*time.Second, 20*time.Millisecond)
}

// TestUnknownNodes: what names nobody is said to.
func TestUnknownNodes(t *testing.T) {
	n1 := nodetest.Start(t, 1)[0]
	for method, params := range map[string]map[string]any{
		"node.ping":       {"node": "n9"},
		"process.info":    {"pid": "n9.1.1"},
		"process.kill":    {"pid": "nobody"},
		"process.logs":    {"pid": "n1.zzz.1"},
		"sandbox.info":    {"sandbox_id": "none"},
		"sandbox.destroy": {"sandbox_id": "none"},
	} {
		err := n1.Client().Call(t.Context(), method, params, nil)
		require.Equal(t, errs.NotFound, errs.KindOf(err), "%s: %v", method, err)
	}
}

// TestWhatIsTooLargeDisturbsNobody: a payload that fits the request but not the
// way to another node is refused, and the link lives on.
func TestWhatIsTooLargeDisturbsNobody(t *testing.T) {
	n1 := nodetest.Start(t, 2)[0]
	err := n1.Client().Call(t.Context(), "node.ping", map[string]any{"node": "n2", "payload": strings.Repeat("x", 4<<20-1000)}, nil)
	require.Equal(t, errs.TooLarge, errs.KindOf(err))
	spec := sleeper("large")
	spec["labels"] = map[string]string{"bulk": strings.Repeat("x", sandbox.MaxSpecBytes)}
	require.Equal(t, errs.TooLarge, errs.KindOf(n1.Client().Call(t.Context(), "sandbox.create", spec, nil)))
	require.Equal(t, 2, nodetest.Call[operations.ClusterStatus](t, n1, "cluster.status", nil).Alive)
	history := nodetest.Call[operations.EventList](t, n1, "event.list", map[string]any{"types": []string{"MemberSuspected", "MemberFailed"}})
	require.Empty(t, history.Events)
}

func TestConfigFaultsSayWhatToDo(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("short\n"), 0o600))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for name, tc := range map[string]struct {
		change func(c *node.Config)
		want   string
	}{
		"open HTTP":         {func(c *node.Config) { c.HTTP = "0.0.0.0:0" }, "--token-file"},
		"open RPC":          {func(c *node.Config) { c.RPC = ":0" }, "--secret-file"},
		"no address":        {func(c *node.Config) { c.HTTP = "4000" }, "HOST:PORT"},
		"port in use":       {func(c *node.Config) { c.HTTP = taken.Addr().String() }, "choose another address with --http"},
		"RPC port in use":   {func(c *node.Config) { c.RPC = taken.Addr().String() }, "choose another address with --rpc"},
		"short secret":      {func(c *node.Config) { c.SecretFile = secret }, "at least 8"},
		"no such token":     {func(c *node.Config) { c.TokenFile = secret + "x" }, "token_file cannot be read"},
		"oneself elsewhere": {func(c *node.Config) { c.Peers["n1"] = "127.0.0.1:1" }, "n1"},
		"two at one":        {func(c *node.Config) { c.Peers["n2"], c.Peers["n3"] = "127.0.0.1:1", "127.0.0.1:1" }, "127.0.0.1:1"},
		"preset":            {func(c *node.Config) { c.Preset = "moon" }, "lan"},
		"message":           {func(c *node.Config) { c.MaxMessage = 3 }, "max_message"},
		"history":           {func(c *node.Config) { c.History = 0 }, "history"},
		"processes":         {func(c *node.Config) { c.MaxProcesses = -1 }, "max_processes"},
		"isolation":         {func(c *node.Config) { c.RequireIsolation = "jail" }, "require_isolation"},
		"users":             {func(c *node.Config) { c.SandboxUsers = "5-1" }, "sandbox_users"},
		"no users":          {func(c *node.Config) { c.SandboxUsers = "0-9x" }, "sandbox_users"},
		"drain":             {func(c *node.Config) { c.DrainTimeout = -1 }, "drain_timeout"},
		"log":               {func(c *node.Config) { c.LogFormat = "xml" }, "text or json"},
		"times":             {func(c *node.Config) { c.DeadAfter = time.Millisecond }, "after"},
	} {
		t.Run(name, func(t *testing.T) {
			c := node.DefaultConfig()
			c.HTTP, c.RPC = "127.0.0.1:0", "127.0.0.1:0"
			tc.change(&c)
			_, err := node.New(c, "test", slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, tc.want)
			require.NotEqual(t, errs.Internal, errs.KindOf(err))
		})
	}
}

// TestSecretAndToken: with both, nodes form and only who shows the token is let
// in.
func TestSecretAndToken(t *testing.T) {
	dir := t.TempDir()
	secret, token := filepath.Join(dir, "secret"), filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(secret, []byte("correct horse\n"), 0o600))
	require.NoError(t, os.WriteFile(token, []byte("battery staple\n"), 0o600))
	var nodes []*nodetest.Node
	for _, c := range nodetest.Configs(t, 2) {
		c.SecretFile, c.TokenFile = secret, token
		nodes = append(nodes, nodetest.Run(t, c))
	}
	nodes[0].WaitReady(t)
	nodes[1].WaitReady(t)
	c := nodes[0].Client()
	require.Equal(t, errs.Unauthorized, errs.KindOf(c.Call(t.Context(), "cluster.status", nil, nil)))
	c.Token = "wrong"
	require.Equal(t, errs.Unauthorized, errs.KindOf(c.Call(t.Context(), "cluster.status", nil, nil)))
	c.Token = "battery staple"
	require.NoError(t, c.Call(t.Context(), "node.ping", map[string]any{"node": "n2"}, nil))
}

// TestStrangers: a node with a wrong secret, of another cluster, or one that
// the others were not told of does not get in, and both sides log why.
func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	right, wrong := filepath.Join(dir, "right"), filepath.Join(dir, "wrong")
	require.NoError(t, os.WriteFile(right, []byte("correct horse"), 0o600))
	require.NoError(t, os.WriteFile(wrong, []byte("battery staple"), 0o600))
	for name, tc := range map[string]struct {
		change func(c *node.Config)
		want   string
	}{
		"wrong secret":  {func(c *node.Config) { c.SecretFile = wrong }, "secret"},
		"other cluster": {func(c *node.Config) { c.Cluster = "other" }, "cluster"},
		"unknown name":  {func(c *node.Config) { c.Name = "n7"; delete(c.Peers, "n2") }, "n7"},
	} {
		t.Run(name, func(t *testing.T) {
			configs := nodetest.Configs(t, 2)
			configs[0].SecretFile, configs[1].SecretFile = right, right
			tc.change(&configs[1])
			n1, stranger := nodetest.Run(t, configs[0]), nodetest.Run(t, configs[1])
			require.Eventually(t, func() bool {
				return logs(n1.Log, "handshake failed", tc.want) && logs(stranger.Log, "handshake failed", tc.want)
			}, 10*time.Second, 10*time.Millisecond, "both say why: %s\n%s", n1.Log, stranger.Log)
			peer := nodetest.Call[operations.ClusterStatus](t, n1, "cluster.status", nil).Nodes[1]
			require.Equal(t, cluster.Unknown, peer.State, "it does not get in: %s", peer.Why)
		})
	}
}

// logs reports whether one line of the log has both texts.
func logs(l *nodetest.Log, texts ...string) bool {
	for line := range strings.Lines(l.String()) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			return true
		}
	}
	return false
}
