package node_test

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/node"
	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// withDisks gives each node a data folder of its own.
func withDisks(t *testing.T) func(*node.Config) {
	dir := t.TempDir()
	return func(c *node.Config) { c.DataDir = filepath.Join(dir, c.Name) }
}

func sandboxesAt(t *testing.T, n *nodetest.Node) (ids []string) {
	t.Helper()
	for _, row := range nodetest.Call[operations.SandboxList](t, n, "sandbox.list", nil).Sandboxes {
		ids = append(ids, row.ID+" is "+string(row.Status)+" on "+row.Node)
	}
	return ids
}

func eventsOf(t *testing.T, n *nodetest.Node, kind string) (whys []string) {
	t.Helper()
	var page struct {
		Events []struct {
			Type, Why string
		} `json:"events"`
	}
	require.NoError(t, n.Client().Call(t.Context(), "event.list", map[string]any{"types": []string{kind}}, &page))
	for _, e := range page.Events {
		whys = append(whys, e.Why)
	}
	return whys
}

// seen prints what a node tells of destroyed sandboxes, when it is asked for.
type seen struct {
	t *testing.T
	n *nodetest.Node
}

func (s *seen) String() string { return strings.Join(eventsOf(s.t, s.n, "SandboxDestroyed"), "\n") }

func alone(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		require.NoDirExists(t, filepath.Join("/proc", jsonOf(t, pid)))
	}
}

// TestOneOfTwoCreatesGetsTheID: of creates of one id at the same instant on all
// nodes exactly one succeeds, and the others say where it runs.
func TestOneOfTwoCreatesGetsTheID(t *testing.T) {
	nodes := nodetest.Start(t, 3)
	for range 10 {
		var wg sync.WaitGroup
		rows, failed := make([]memdb.Sandbox, len(nodes)), make([]error, len(nodes))
		for i, n := range nodes {
			wg.Go(func() { failed[i] = n.Client().Call(t.Context(), "sandbox.create", sleeper("one"), &rows[i]) })
		}
		wg.Wait()
		winner := -1
		for i, err := range failed {
			if err == nil {
				require.Equal(t, -1, winner, "both succeeded")
				winner = i
			}
		}
		require.NotEqual(t, -1, winner, "none succeeded: %v", failed)
		for i, err := range failed {
			if i != winner {
				require.Equal(t, errs.AlreadyExists, errs.KindOf(err), "%v", err)
				require.Contains(t, err.Error(), "on node "+nodes[winner].Config.Name)
			}
			require.Equal(t, []string{"one is running on " + nodes[winner].Config.Name}, sandboxesAt(t, nodes[i]))
		}
		pid := worker(t, nodes[0], "one").OSPID
		nodetest.Call[json.RawMessage](t, nodes[(winner+1)%3], "sandbox.destroy", map[string]any{"sandbox_id": "one"})
		alone(t, pid)
	}
	require.Empty(t, nodetest.Call[operations.NameList](t, nodes[0], "registry.list", nil).Names, "ids are no names to be seen")
	err := nodes[0].Client().Call(t.Context(), "registry.lookup", map[string]any{"name": "\x7fsandbox/one"}, nil)
	require.Equal(t, errs.BadParameter, errs.KindOf(err), "%v", err)
}

// TestDestroyWithANodeDown: the answer names who is missing, REST says 200, and when
// that node is back it hears of it and the decree ends.
func TestDestroyWithANodeDown(t *testing.T) {
	nodes := nodetest.Start(t, 3, withDisks(t))
	n1, n3 := nodes[0], nodes[2]
	nodetest.Call[memdb.Sandbox](t, n1, "sandbox.create", sleeper("short"))
	pid := worker(t, n1, "short").OSPID
	require.NoError(t, n3.Stop())

	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+n1.HTTP()+"/api/v1/sandboxes/short", nil)
	require.NoError(t, err)
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	var pending operations.SandboxDestroyed
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&pending))
	require.Equal(t, []string{"n3"}, pending.Pending)
	alone(t, pid)

	back := nodetest.Run(t, n3.Config)
	back.WaitReady(t)
	nodetest.Call[memdb.Sandbox](t, back, "sandbox.create", sleeper("short"))
	require.Nil(t, nodetest.Call[*operations.SandboxDestroyed](t, n1, "sandbox.destroy", map[string]any{"sandbox_id": "short"}), "all are there")
}

// TestWhoLeavesKeepsItsSandboxes: for its next start, which starts them again; the
// cluster goes on without them.
func TestWhoLeavesKeepsItsSandboxes(t *testing.T) {
	nodes := nodetest.Start(t, 3, withDisks(t))
	n1, n3 := nodes[0], nodes[2]
	nodetest.Call[memdb.Sandbox](t, n3, "sandbox.create", sleeper("far"))
	nodetest.Call[memdb.Sandbox](t, n3, "sandbox.create", sleeper("near"))
	require.NoError(t, n3.Stop())
	require.Eventually(t, func() bool { return len(sandboxesAt(t, n1)) == 0 }, 5*time.Second, 5*time.Millisecond, "it left")
	again := nodetest.Run(t, n3.Config)
	again.WaitReady(t)
	require.Eventually(t, func() bool {
		return strings.Join(sandboxesAt(t, n1), ",") == "far is running on n3,near is running on n3"
	}, 10*time.Second, 5*time.Millisecond, "what was kept is started again")
}

// TestForceAcrossACut: the host is cut off and runs on. What is destroyed by force
// meanwhile, and created again with the same id, is the new one after the healing;
// the host has killed the old one.
func TestForceAcrossACut(t *testing.T) {
	nodes := nodetest.Start(t, 3, withDisks(t), func(c *node.Config) { c.AllowFaults = true })
	n1, n2, n3 := nodes[0], nodes[1], nodes[2]
	nodetest.Call[memdb.Sandbox](t, n3, "sandbox.create", sleeper("far"))
	old := worker(t, n3, "far").OSPID
	nodetest.Call[json.RawMessage](t, n3, "fault.cut", map[string]any{"peer": "n1"})
	nodetest.Call[json.RawMessage](t, n3, "fault.cut", map[string]any{"peer": "n2"})
	require.Eventually(t, func() bool { return strings.Join(sandboxesAt(t, n1), "") == "far is unknown on n3" }, 10*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return strings.Join(sandboxesAt(t, n2), "") == "far is unknown on n3" }, 10*time.Second, 10*time.Millisecond)

	err := n1.Client().Call(t.Context(), "sandbox.destroy", map[string]any{"sandbox_id": "far"}, nil)
	require.Equal(t, errs.NodeUnavailable, errs.KindOf(err), "%v", err)
	err = n1.Client().Call(t.Context(), "sandbox.create", sleeper("far"), nil)
	require.Equal(t, errs.AlreadyExists, errs.KindOf(err), "%v", err)
	done := nodetest.Call[operations.SandboxDestroyed](t, n1, "sandbox.destroy", map[string]any{"sandbox_id": "far", "force": true})
	require.Equal(t, []string{"n3"}, done.Pending)
	require.Empty(t, sandboxesAt(t, n1))
	require.Empty(t, sandboxesAt(t, n2))
	require.DirExists(t, filepath.Join("/proc", jsonOf(t, old)), "its host knows nothing yet")
	second := nodetest.Call[memdb.Sandbox](t, n1, "sandbox.create", sleeper("far"))
	require.EqualValues(t, 1, second.Epoch, "it beats the one that its host still claims")

	nodetest.Call[json.RawMessage](t, n3, "fault.heal", nil)
	require.Eventually(t, func() bool { // it hears of the decree first, or that its id is the new one's
		why := strings.Join(eventsOf(t, n3, "SandboxDestroyed"), "\n")
		return strings.Contains(why, "destroyed by node n1, as this node heard now") || strings.Contains(why, "its id is that of another sandbox, on node n1")
	}, 10*time.Second, 10*time.Millisecond, "%v", &seen{t, n3})
	alone(t, old)
	for _, n := range nodes {
		require.Eventually(t, func() bool { return strings.Join(sandboxesAt(t, n), ",") == "far is running on n1" }, 10*time.Second, 10*time.Millisecond)
	}
	require.Equal(t, second.UID, nodetest.Call[sandbox.Info](t, n3, "sandbox.info", map[string]any{"sandbox_id": "far"}).Sandbox.UID)
	nodetest.Call[json.RawMessage](t, n3, "sandbox.destroy", map[string]any{"sandbox_id": "far"})
}

// TestTheWholeClusterRestarts: what was created is there again, the same creation,
// and what was destroyed is not. What another took meanwhile is dropped, with why.
func TestTheWholeClusterRestarts(t *testing.T) {
	nodes := nodetest.Start(t, 3, withDisks(t))
	var pids []int
	before := map[string]string{}
	for i, n := range nodes {
		id := []string{"a", "b", "c"}[i]
		before[id] = nodetest.Call[memdb.Sandbox](t, n, "sandbox.create", sleeper(id)).UID
		nodetest.Call[memdb.Sandbox](t, n, "sandbox.create", sleeper("gone-"+id))
		pids = append(pids, worker(t, n, id).OSPID, worker(t, n, "gone-"+id).OSPID)
		nodetest.Call[json.RawMessage](t, nodes[(i+1)%3], "sandbox.destroy", map[string]any{"sandbox_id": "gone-" + id})
	}
	for _, n := range nodes {
		require.NoError(t, n.Stop())
	}
	alone(t, pids...)
	for i := range nodes {
		nodes[i] = nodetest.Run(t, nodes[i].Config)
	}
	for _, n := range nodes {
		n.WaitReady(t)
	}
	for _, n := range nodes {
		require.Eventually(t, func() bool {
			return strings.Join(sandboxesAt(t, n), ",") == "a is running on n1,b is running on n2,c is running on n3"
		}, 10*time.Second, 10*time.Millisecond, "%v", sandboxesAt(t, n))
	}
	for id, uid := range before {
		require.Equal(t, uid, nodetest.Call[sandbox.Info](t, nodes[0], "sandbox.info", map[string]any{"sandbox_id": id}).Sandbox.UID)
	}

	require.NoError(t, nodes[2].Stop())
	require.Eventually(t, func() bool { return len(sandboxesAt(t, nodes[0])) == 2 }, 5*time.Second, 5*time.Millisecond)
	nodetest.Call[memdb.Sandbox](t, nodes[0], "sandbox.create", sleeper("c"))
	back := nodetest.Run(t, nodes[2].Config)
	back.WaitReady(t)
	require.Eventually(t, func() bool { return len(eventsOf(t, back, "SandboxDropped")) == 1 }, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, eventsOf(t, back, "SandboxDropped")[0], "on node n1")
	require.Equal(t, []string{"a is running on n1", "b is running on n2", "c is running on n1"}, sandboxesAt(t, back))
}

// TestDataFoldersAreOneNodes: two nodes on one folder, and another node's folder,
// are refused with what to do.
func TestDataFoldersAreOneNodes(t *testing.T) {
	n := nodetest.Start(t, 1, withDisks(t))[0]
	other := nodetest.Configs(t, 1)[0]
	other.DataDir = n.Config.DataDir
	_, err := node.New(other, "test", nil)
	require.ErrorContains(t, err, "another process has the data folder")
	require.ErrorContains(t, err, "--data-dir")
	require.NoError(t, n.Stop())
	other.Name, other.Peers = "n7", nil
	_, err = node.New(other, "test", nil)
	require.ErrorContains(t, err, "is node n1's, and this is node n7")
}

// TestOneCrashTakesNoOtherDown: a sandbox that crashes for good fails alone, and
// nothing of it is left.
func TestOneCrashTakesNoOtherDown(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	nodetest.Call[memdb.Sandbox](t, n, "sandbox.create", sleeper("calm"))
	calm := worker(t, n, "calm")
	nodetest.Call[memdb.Sandbox](t, n, "sandbox.create", map[string]any{"id": "wild", "children": []any{
		map[string]any{"id": "a", "run": map[string]any{"exec": []string{"sh", "-c", "sleep 600 & exit 3"}}},
	}})
	require.Eventually(t, func() bool {
		return strings.Join(sandboxesAt(t, n), ",") == "calm is running on n1,wild is failed on n1"
	}, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, calm.PID, worker(t, n, "calm").PID)
	require.DirExists(t, filepath.Join("/proc", jsonOf(t, calm.OSPID)))

	again := nodetest.Call[memdb.Sandbox](t, n, "sandbox.restart", map[string]any{"sandbox_id": "calm"})
	require.Equal(t, memdb.SandboxRunning, again.Status)
	alone(t, calm.OSPID)
	fresh := worker(t, n, "calm")
	require.NotEqual(t, calm.PID, fresh.PID)
	require.DirExists(t, filepath.Join("/proc", jsonOf(t, fresh.OSPID)))
	nodetest.Call[json.RawMessage](t, n, "sandbox.destroy", map[string]any{"sandbox_id": "calm"})
	alone(t, fresh.OSPID)
}

// TestANamedChildHoldsItsNameBySlot: the name leads to whatever process is in the
// slot, goes with the sandbox, and a name that is taken is a start that fails and
// says who has it.
func TestANamedChildHoldsItsNameBySlot(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	n1, n2 := nodes[0], nodes[1]
	named := func(id string) map[string]any {
		spec := sleeper(id)
		spec["children"].([]any)[0].(map[string]any)["name"] = "shop/cache"
		return spec
	}
	nodetest.Call[memdb.Sandbox](t, n1, "sandbox.create", named("shop"))
	held := func(n *nodetest.Node) operations.Holder {
		return nodetest.Call[operations.HeldName](t, n, "registry.lookup", map[string]any{"name": "shop/cache"}).Holder
	}
	first := worker(t, n2, "shop")
	require.Equal(t, "shop/cache", first.Name)
	require.Equal(t, operations.Holder{Node: "n1", PID: first.PID, Sandbox: "shop", Child: "a"}, held(n2))

	list := nodetest.Call[operations.ProcessList](t, n2, "process.list", map[string]any{"name": "shop/cache"})
	require.Len(t, list.Processes, 1)
	require.Equal(t, first.PID, list.Processes[0].PID)
	require.Equal(t, []string{"shop/cache"}, list.Processes[0].Names)

	err := n2.Client().Call(t.Context(), "sandbox.create", named("copy"), nil)
	require.ErrorContains(t, err, `"shop/cache" is held by child "a" of sandbox "shop" on node n1`)
	err = n2.Client().Call(t.Context(), "registry.register", map[string]any{"name": "shop/cache"}, nil)
	require.Equal(t, errs.NameTaken, errs.KindOf(err), "%v", err)
	err = n2.Client().Call(t.Context(), "registry.unregister", map[string]any{"name": "shop/cache"}, nil)
	require.Equal(t, errs.Conflict, errs.KindOf(err), "%v", err)

	nodetest.Call[operations.Killed](t, n2, "process.kill", map[string]any{"pid": first.PID})
	require.Eventually(t, func() bool { h := held(n2); return h.PID != "" && h.PID != first.PID }, 5*time.Second, 5*time.Millisecond)
	nodetest.Call[memdb.Sandbox](t, n2, "sandbox.restart", map[string]any{"sandbox_id": "shop"})
	require.Equal(t, worker(t, n2, "shop").PID, held(n2).PID)

	nodetest.Call[json.RawMessage](t, n2, "sandbox.destroy", map[string]any{"sandbox_id": "shop"})
	for _, n := range nodes {
		err := n.Client().Call(t.Context(), "registry.lookup", map[string]any{"name": "shop/cache"}, nil)
		require.Equal(t, errs.NotFound, errs.KindOf(err), "%v", err)
	}
	nodetest.Call[json.RawMessage](t, n2, "sandbox.destroy", map[string]any{"sandbox_id": "copy"})
	nodetest.Call[memdb.Sandbox](t, n2, "sandbox.create", named("copy"))
	require.Equal(t, "n2", held(n1).Node)
}

// TestDestroyOfACreateThatWaits: while a member is suspected the id is not this
// sandbox's yet, and no node shows it; it can be destroyed all the same.
func TestDestroyOfACreateThatWaits(t *testing.T) {
	nodes := nodetest.Start(t, 2, func(c *node.Config) { c.AllowFaults = true })
	n1 := nodes[0]
	nodetest.Call[json.RawMessage](t, n1, "fault.cut", map[string]any{"peer": "n2"})
	created := make(chan error, 1)
	go func() { created <- n1.Client().Call(context.Background(), "sandbox.create", sleeper("late"), nil) }()
	require.Eventually(t, func() bool {
		return errs.KindOf(n1.Client().Call(t.Context(), "sandbox.info", map[string]any{"sandbox_id": "late"}, nil)) == ""
	}, 5*time.Second, time.Millisecond)
	require.Empty(t, sandboxesAt(t, n1), "it waits")
	nodetest.Call[json.RawMessage](t, n1, "sandbox.destroy", map[string]any{"sandbox_id": "late"})
	require.ErrorContains(t, <-created, "destroyed while it started")
	require.Contains(t, eventsOf(t, n1, "SandboxDestroyed")[0], "destroyed by rpc client")
	require.Empty(t, sandboxesAt(t, n1))
	require.Empty(t, eventsOf(t, n1, "ProcessStarted"))
}

// TestARestartLeavesNoName: a child that waits for its name while a member is suspected
// is stopped with its supervisor, and the name is free when the member is known to be dead.
func TestARestartLeavesNoName(t *testing.T) {
	nodes := nodetest.Start(t, 2, func(c *node.Config) { c.AllowFaults = true })
	n1 := nodes[0]
	nodetest.Call[memdb.Sandbox](t, n1, "sandbox.create", sleeper("shop"))
	list := nodetest.Call[operations.SupervisorList](t, n1, "supervisor.list", map[string]any{"sandbox": "shop"})
	child := sleeper("shop")["children"].([]any)[0].(map[string]any)
	child["id"], child["name"] = "x", "shop/cache"
	nodetest.Call[json.RawMessage](t, n1, "fault.cut", map[string]any{"peer": "n2"})
	failed := make(chan error, 1)
	go func() {
		failed <- n1.Client().Call(context.Background(), "supervisor.start_child", map[string]any{"pid": list.Supervisors[0].PID, "child": child}, nil)
	}()
	require.Eventually(t, func() bool {
		info := nodetest.Call[sandbox.Info](t, n1, "sandbox.info", map[string]any{"sandbox_id": "shop"})
		return len(info.Processes) == 3
	}, 5*time.Second, time.Millisecond)
	nodetest.Call[memdb.Sandbox](t, n1, "sandbox.restart", map[string]any{"sandbox_id": "shop"})
	require.Error(t, <-failed)
	require.Eventually(t, func() bool { return len(eventsOf(t, n1, "MemberFailed")) > 0 }, 10*time.Second, 10*time.Millisecond)
	spec := sleeper("other")
	spec["children"].([]any)[0].(map[string]any)["name"] = "shop/cache"
	nodetest.Call[memdb.Sandbox](t, n1, "sandbox.create", spec)
}
