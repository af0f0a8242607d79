package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/memdb"
)

type params = map[string]any

func register(t *testing.T, n *nodetest.Node, p params) operations.Registered {
	t.Helper()
	return nodetest.Call[operations.Registered](t, n, "registry.register", p)
}

// lookup returns what a node says of a name, both ways, which must agree.
func lookup(t *testing.T, n *nodetest.Node, name string) operations.HeldName {
	t.Helper()
	local := nodetest.Call[operations.HeldName](t, n, "registry.lookup", params{"name": name})
	require.Equal(t, local, nodetest.Call[operations.HeldName](t, n, "registry.lookup", params{"name": name, "consistent": true}))
	return local
}

// refused demands an error of a kind.
func refused(t *testing.T, kind errs.Kind, n *nodetest.Node, method string, p params) *errs.Error {
	t.Helper()
	err := n.Client().Call(t.Context(), method, p, nil)
	require.Equal(t, kind, errs.KindOf(err), "%s %.200v: %v", method, p, err)
	return errs.From(err)
}

func names(t *testing.T, n *nodetest.Node, p params) []string {
	t.Helper()
	list := []string{}
	for _, name := range nodetest.Call[operations.NameList](t, n, "registry.list", p).Names {
		list = append(list, name.Name)
	}
	return list
}

// gone waits until a node does not know a name any more.
func gone(t *testing.T, n *nodetest.Node, name string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return errs.KindOf(n.Client().Call(t.Context(), "registry.lookup", params{"name": name}, nil)) == errs.NotFound
	}, 10*time.Second, time.Millisecond, "%s on %s", name, n.Config.Name)
}

// TestALookupMayWait: for a name that somebody registers while it is waited for,
// on another node.
func TestALookupMayWait(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	refused(t, errs.NotFound, nodes[0], "registry.lookup", params{"name": "late", "wait_ms": 1})
	found := make(chan operations.HeldName)
	go func() {
		var held operations.HeldName
		_ = nodes[0].Client().Call(t.Context(), "registry.lookup", params{"name": "late", "wait_ms": 20_000}, &held)
		found <- held
	}()
	register(t, nodes[1], params{"name": "other"})
	register(t, nodes[1], params{"name": "late"})
	require.Equal(t, "n2", (<-found).Holder.Node)
}

// invoke asks a node for something without HTTP.
func invoke(ctx context.Context, t *testing.T, n *nodetest.Node, method string, p params) error {
	t.Helper()
	raw, err := json.Marshal(p)
	require.NoError(t, err)
	_, err = n.Table().Invoke(ctx, op.Request{Method: method, Params: raw})
	return err
}

// TestLookupsThatWaitStarveNobody: more than a peer has workers for, and names are
// still taken, refused, found and given up between the two nodes at once.
func TestLookupsThatWaitStarveNobody(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	register(t, nodes[1], params{"name": "held"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const waiters = 2500
	ends := make(chan error, waiters)
	for i := range waiters {
		p := params{"name": fmt.Sprintf("never/%d", i), "wait_ms": 20_000, "node": "n2"}
		go func() { ends <- invoke(ctx, t, nodes[0], "registry.lookup", p) }()
	}
	for range waiters - 512 {
		err := <-ends
		require.Equal(t, errs.RateLimited, errs.KindOf(err), "%v", err)
		require.ErrorContains(t, err, "ask node n2 itself")
	}
	began := time.Now()
	refused(t, errs.NameTaken, nodes[0], "registry.register", params{"name": "held"})
	require.Equal(t, "n2", lookup(t, nodes[0], "held").Holder.Node)
	nodetest.Call[any](t, nodes[0], "registry.unregister", params{"name": "held"})
	require.True(t, register(t, nodes[0], params{"name": "held"}).Created)
	require.Less(t, time.Since(began), 10*time.Second, "they wait for twice as long")
	require.Empty(t, ends, "they wait still")
	cancel()
	for range 512 {
		require.Error(t, <-ends)
	}
	// Who waited has made room.
	require.Eventually(t, func() bool {
		return errs.KindOf(nodes[0].Client().Call(t.Context(), "registry.lookup", params{"name": "never", "wait_ms": 1, "node": "n2"}, nil)) == errs.NotFound
	}, 10*time.Second, 5*time.Millisecond)
}

// TestAWaitCutShort does not say that nobody holds the name.
func TestAWaitCutShort(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	for _, node := range []string{"n1", "n2"} {
		err := refused(t, errs.Timeout, nodes[0], "registry.lookup", params{"name": "late", "wait_ms": 20_000, "timeout_ms": 30, "node": node})
		require.False(t, err.Definite())
	}
	ends := make(chan error)
	for _, n := range nodes { // asked of n2 itself, and by way of n1
		go func() {
			ends <- n.Client().Call(t.Context(), "registry.lookup", params{"name": "late", "wait_ms": 20_000, "node": "n2"}, nil)
		}()
	}
	stacks := make([]byte, 4<<20)
	begun := func() bool {
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), ".awaitName(") == len(nodes)
	}
	require.Eventually(t, begun, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, nodes[1].Stop())
	for range nodes {
		err := errs.From(<-ends)
		require.NotEqual(t, errs.NotFound, err.Kind, "%v", err)
		require.False(t, err.Kind == errs.NotReady && err.Definite(), "%v", err)
	}
}

// TestANameIsOneForTheWholeCluster: what returned is seen by all at once,
// whoever is asked.
func TestANameIsOneForTheWholeCluster(t *testing.T) {
	nodes := nodetest.Start(t, 3)
	n1, n2, n3 := nodes[0], nodes[1], nodes[2]
	for i := range 20 { // at once, not soon
		name := fmt.Sprintf("shop/%02d", i)
		made := register(t, nodes[i%3], params{"name": name, "value": params{"port": i}})
		require.True(t, made.Created)
		for _, n := range nodes {
			found := lookup(t, n, name)
			require.Equal(t, operations.Holder{Node: nodes[i%3].Config.Name}, found.Holder)
			require.JSONEq(t, fmt.Sprintf(`{"port":%d}`, i), string(found.Value))
			require.Equal(t, made.Registered, found.Registered)
		}
	}
	again := register(t, n1, params{"name": "shop/00", "value": json.RawMessage(`{ "port": 0 }`)})
	require.False(t, again.Created || again.Replaced, "the same holder, the same value")
	require.Contains(t, refused(t, errs.Conflict, n1, "registry.register", params{"name": "shop/00", "value": 1}).Message, "replace: true")
	replaced := register(t, n1, params{"name": "shop/00", "value": 1, "replace": true})
	require.True(t, replaced.Replaced)
	require.False(t, replaced.Created)
	require.Equal(t, "1", string(lookup(t, n3, "shop/00").Value))

	taken := refused(t, errs.NameTaken, n2, "registry.register", params{"name": "shop/00"})
	require.Contains(t, taken.Message, "held by node n1")
	require.Equal(t, "n1", taken.Node)
	require.True(t, taken.Definite())
	refused(t, errs.NameTaken, n2, "registry.register", params{"name": "shop/00", "value": 1, "replace": true})
	require.True(t, register(t, n1, params{"name": "pinned", "node": "n3"}).Created)
	require.Equal(t, "n3", lookup(t, n2, "pinned").Holder.Node, "node says whose it is to be")

	require.Eventually(t, func() bool { return len(names(t, n2, params{})) == 21 }, 5*time.Second, time.Millisecond)
	require.Equal(t, []string{"shop/00", "shop/03"}, names(t, n2, params{"prefix": "shop/", "limit": 2, "node": "n1"}))
	require.Equal(t, []string{"shop/06"}, names(t, n2, params{"prefix": "shop/", "limit": 1, "node": "n1", "cursor": "shop/03"}))
	require.Empty(t, names(t, n2, params{"prefix": "shoq"}))

	// From any node, and at once too.
	nodetest.Call[json.RawMessage](t, n2, "registry.unregister", params{"name": "shop/00"})
	for _, n := range nodes {
		refused(t, errs.NotFound, n, "registry.lookup", params{"name": "shop/00"})
		refused(t, errs.NotFound, n, "registry.lookup", params{"name": "shop/00", "consistent": true})
	}
	refused(t, errs.NotFound, n3, "registry.unregister", params{"name": "shop/00"})
	require.Contains(t, refused(t, errs.NotFound, n3, "registry.unregister", params{"name": "shop/01", "node": "n1"}).Message, "n1 does not hold")
	require.True(t, register(t, n2, params{"name": "shop/00"}).Created)

	require.Eventually(t, func() bool {
		told := nodetest.Call[operations.EventList](t, n3, "event.list", params{"subject": "shop/00"})
		list := []string{}
		for _, e := range told.Events {
			list = append(list, e.Node+" "+e.Type+" "+e.Why)
		}
		return slices.Equal(list, []string{"n1 NameRegistered by request", "n1 NameUnregistered by request", "n2 NameRegistered by request"})
	}, 5*time.Second, time.Millisecond, "everybody is told, with why")
}

// TestANameGoesWithItsHolder: with the process, with the sandbox, with the node.
func TestANameGoesWithItsHolder(t *testing.T) {
	nodes := nodetest.Start(t, 3)
	n1, n2, n3 := nodes[0], nodes[1], nodes[2]
	spec := sleeper("pair")
	spec["placement"] = params{"node": "n2"}
	nodetest.Call[memdb.Sandbox](t, n1, "sandbox.create", spec)
	before := worker(t, n1, "pair")
	for _, name := range []string{"b", "a"} {
		held := register(t, n1, params{"name": name, "pid": before.PID})
		require.Equal(t, operations.Holder{Node: "n2", PID: before.PID}, held.Holder, "the process's node holds it")
	}
	require.Contains(t, refused(t, errs.NameTaken, n3, "registry.register", params{"name": "a"}).Message, "process "+before.PID+" of node n2")
	require.Contains(t, refused(t, errs.NameTaken, n2, "registry.register", params{"name": "a"}).Message, "process "+before.PID)

	// Processes show their names, on every node.
	require.Eventually(t, func() bool {
		list := nodetest.Call[operations.ProcessList](t, n3, "process.list", params{"name": "a"}).Processes
		return len(list) == 1 && list[0].PID == before.PID && list[0].Name == "a" && slices.Equal(list[0].Names, []string{"a", "b"})
	}, 5*time.Second, time.Millisecond)
	require.Empty(t, nodetest.Call[operations.ProcessList](t, n3, "process.list", params{"name": "c"}).Processes)
	require.Equal(t, []string{"a", "b"}, nodetest.Call[operations.Process](t, n1, "process.info", params{"pid": before.PID}).Names)
	info := nodetest.Call[operations.NodeInfo](t, n1, "node.info", params{"node": "n2", "include_processes": true})
	require.True(t, slices.ContainsFunc(info.Processes, func(p operations.Process) bool { return p.Name == "a" }))

	nodetest.Call[operations.Killed](t, n3, "process.kill", params{"pid": before.PID})
	for _, n := range nodes {
		gone(t, n, "a")
		gone(t, n, "b")
	}
	told := nodetest.Call[operations.EventList](t, n2, "event.list", params{"subject": "a", "type": "NameUnregistered"}).Events
	require.Len(t, told, 1)
	require.Contains(t, told[0].Why, "its process "+before.PID+" ended")
	require.Equal(t, "pid", refused(t, errs.BadParameter, n1, "registry.register", params{"name": "a", "pid": before.PID}).Param)

	var after memdb.Process
	require.Eventually(t, func() bool {
		list := nodetest.Call[operations.ProcessList](t, n1, "process.list", params{"sandbox": "pair", "type": "worker", "state": "running"}).Processes
		if len(list) == 1 {
			after = list[0].Process
		}
		return len(list) == 1 && after.PID != before.PID
	}, 5*time.Second, time.Millisecond)
	register(t, n3, params{"name": "a", "pid": after.PID})
	nodetest.Call[json.RawMessage](t, n1, "sandbox.destroy", params{"sandbox_id": "pair"})
	for _, n := range nodes {
		gone(t, n, "a")
	}

	// A node's names go with the node, and the name can be had again.
	nodetest.Call[memdb.Sandbox](t, n2, "sandbox.create", sleeper("other"))
	other := worker(t, n1, "other")
	register(t, n2, params{"name": "of n2"})
	register(t, n3, params{"name": "of n3"})
	require.NoError(t, n2.Stop())
	gone(t, n1, "of n2")
	gone(t, n3, "of n2")
	require.Equal(t, "n3", lookup(t, n1, "of n3").Holder.Node)
	require.True(t, register(t, n3, params{"name": "of n2"}).Created)
	dead := refused(t, errs.BadParameter, n1, "registry.register", params{"name": "x", "pid": other.PID})
	require.Equal(t, "pid", dead.Param, "a process of a node that is gone")
}

// TestBadNames: each error names the field.
func TestBadNames(t *testing.T) {
	n := nodetest.Start(t, 2)[0]
	nested := func(depth int) json.RawMessage {
		return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))
	}
	for _, name := range []string{"", strings.Repeat("x", 256), strings.Repeat("ä", 128), "a\nb", "\x00", "a\u0085b", "\x7f"} {
		for _, method := range []string{"registry.register", "registry.lookup", "registry.unregister"} {
			require.Equal(t, "name", refused(t, errs.BadParameter, n, method, params{"name": name}).Param)
			require.Equal(t, "name", refused(t, errs.BadParameter, n, method, params{"name": name, "node": "n2"}).Param, "pinned to a node")
		}
		require.Equal(t, "topic", refused(t, errs.BadParameter, n, "pubsub.publish", params{"topic": name, "message": 1}).Param)
		if name != "" { // no topic at all
			require.Equal(t, "topic", refused(t, errs.BadParameter, n, "event.list", params{"topic": name}).Param)
		}
	}
	for _, name := range []string{`"a\ud800b"`, "\"a\xffb\""} { // each of which encoding/json would read as another name
		for _, p := range []string{`{"name":` + name + `}`, `{"name":` + name + `,"node":"n2"}`} {
			_, err := n.Table().Invoke(t.Context(), op.Request{Method: "registry.register", Params: json.RawMessage(p)})
			require.Equal(t, "name", errs.From(err).Param, "%v", err)
		}
		_, err := n.Table().Invoke(t.Context(), op.Request{Method: "pubsub.publish", Params: json.RawMessage(`{"message":1,"topic":` + name + `}`)})
		require.Equal(t, "topic", errs.From(err).Param, "%v", err)
	}
	for _, value := range []any{strings.Repeat("x", 64<<10), nested(513), nested(9_990)} {
		require.Equal(t, "value", refused(t, errs.BadParameter, n, "registry.register", params{"name": "a", "value": value}).Param)
		require.Equal(t, "value", refused(t, errs.BadParameter, n, "registry.register", params{"name": "a", "value": value, "node": "n2"}).Param)
		require.Equal(t, "message", refused(t, errs.BadParameter, n, "pubsub.publish", params{"topic": "a", "message": value}).Param)
	}
	require.Equal(t, "message", refused(t, errs.BadParameter, n, "pubsub.publish", params{"topic": "a"}).Param)
	for _, pid := range []string{"nobody", "n1.x.1", "n9.x.1"} {
		require.Equal(t, "pid", refused(t, errs.BadParameter, n, "registry.register", params{"name": "a", "pid": pid}).Param)
		require.Equal(t, "pid", refused(t, errs.BadParameter, n, "registry.register", params{"name": "a", "pid": pid, "node": "n2"}).Param)
	}
	refused(t, errs.NotFound, n, "registry.list", params{"node": "n9"})
	refused(t, errs.NotFound, n, "registry.register", params{"name": "a", "node": "n9"})

	// The most that is allowed.
	long := strings.Repeat("x", 255)
	require.True(t, register(t, n, params{"name": long, "value": strings.Repeat("x", 64<<10-2)}).Created)
	require.True(t, register(t, n, params{"name": "deep", "value": nested(512)}).Created)
	require.Equal(t, long, lookup(t, n, long).Name)
}

type httpAnswer struct {
	status   int
	body     string
	location string
}

func (a httpAnswer) problem(t *testing.T) errs.Problem {
	t.Helper()
	var p errs.Problem
	require.NoError(t, json.Unmarshal([]byte(a.body), &p), a.body)
	return p
}

// do sends a request whose path is as it is to be on the wire.
func do(t *testing.T, n *nodetest.Node, method, path, body string) httpAnswer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.HTTP()+"/api/v1"+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	got, err := n.Client().HTTP.Do(r)
	require.NoError(t, err)
	defer got.Body.Close()
	raw, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	return httpAnswer{got.StatusCode, string(raw), got.Header.Get("Location")}
}

// TestNamesInPaths: a name in a path is decoded once, with slashes or without.
func TestNamesInPaths(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	for path, name := range map[string]string{
		"shop/cache": "shop/cache", "shop%2Fother": "shop/other", "a%252Fb": "a%2Fb", "a%2520b": "a%20b", "100%25": "100%", "%2Froot": "/root",
		"/also/root": "/also/root", "a//b/": "a//b/", "a+b%20c%3Fd%23e": "a+b c?d#e", "%C3%A4%F0%9F%99%82": "ä🙂", "x%2Fy%25z": "x/y%z", "a;b=c": "a;b=c",
	} {
		made := do(t, n, "PUT", "/registry/"+path, `{"value":1}`)
		require.Equal(t, 201, made.status, "%s: %s", path, made.body)
		require.Equal(t, "/api/v1/registry/"+path, made.location)
		require.Equal(t, name, lookup(t, n, name).Name)
		require.Equal(t, 200, do(t, n, "PUT", "/registry/"+path, `{"value":1}`).status, "it was there")
		require.Equal(t, 409, do(t, n, "PUT", "/registry/"+path, `{"value":2}`).status)
		require.Equal(t, 200, do(t, n, "PUT", "/registry/"+path, `{"value":2,"replace":true}`).status)
		found := do(t, n, "GET", "/registry/"+path+"?consistent=true", "")
		require.Equal(t, 200, found.status)
		require.Contains(t, found.body, `"value":2`)
		require.Equal(t, 200, do(t, n, "HEAD", "/registry/"+path, "").status)
		require.Equal(t, 204, do(t, n, "DELETE", "/registry/"+path, "").status)
		missing := do(t, n, "GET", "/registry/"+path, "")
		require.Equal(t, 404, missing.status)
		require.Equal(t, errs.NotFound, missing.problem(t).Kind)

		sent := do(t, n, "POST", "/topics/"+path, `{"message":"m"}`)
		require.Equal(t, 200, sent.status, "%s: %s", path, sent.body)
		kept := nodetest.Call[operations.EventList](t, n, "event.list", params{"topic": name}).Events
		require.Len(t, kept, 1)
		require.Equal(t, event.Message, kept[0].Type)
	}
	for _, path := range []string{"", "%FF", "a%00b", "a%0Ab", "%ED%A0%80", strings.Repeat("x", 256)} {
		for _, method := range []string{"PUT", "GET", "DELETE"} {
			a := do(t, n, method, "/registry/"+path, "")
			require.Equal(t, 400, a.status, "%s %s: %s", method, path, a.body)
			require.Equal(t, "name", a.problem(t).Param)
		}
		a := do(t, n, "POST", "/topics/"+path, `{"message":1}`)
		require.Equal(t, 400, a.status, "%s: %s", path, a.body)
		require.Equal(t, "topic", a.problem(t).Param)
	}
	require.Equal(t, "value", do(t, n, "PUT", "/registry/a?value=hello", "").problem(t).Param)
	require.Contains(t, do(t, n, "PUT", "/registry/a?value=hello", "").problem(t).Detail, `'"hello"'`)
	require.Equal(t, "name", do(t, n, "PUT", "/registry/a", `{"name":"b"}`).problem(t).Param, "given twice")
	require.Equal(t, 405, do(t, n, "POST", "/registry/a", `{}`).status)
}
