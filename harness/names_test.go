package harness_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/memdb/memdbtest"
	"github.com/glassbox-dev/glassbox/rpc/rpctest"
)

// TestPromisesOfNames measures what is promised of names, on real processes; see
// TestPromises for what is asked when.
func TestPromisesOfNames(t *testing.T) {
	if n := os.Getenv(bareRows); n != "" {
		reportBare(t, n)
		return
	}
	if addr := os.Getenv(emptyEcho); addr != "" {
		e := echo.New()
		e.GET("/empty/*", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
		e.GET("/same/*", func(c echo.Context) error {
			return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, []byte(`{"name":"look/000000","holder":{"node":"n2"},"value":`+someValue+`,"epoch":0,"registered":"2026-11-25T02:30:00.123456Z"}`))
		})
		_ = http.ListenAndServe(addr, e) // until it is killed
		return
	}
	if !strict {
		t.Parallel()
	}
	t.Run("register", registerLatency)
	t.Run("register_rate", registerRate)
	t.Run("lookup", lookupRate)
	t.Run("many", manyNames)
	t.Run("idle", idleWithNames)
	t.Run("heal", healNames)
}

// poster posts JSON-RPC to one node, over connections that stay.
type poster struct {
	url  string
	http http.Client
}

func newPoster(t testing.TB, addr string) *poster {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &poster{"http://" + addr + "/rpc", http.Client{Transport: transport}}
}

// post returns how often a text occurs in the answer.
func (p *poster) post(body []byte, text string) (int, []byte, error) {
	answer, err := p.http.Post(p.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	return bytes.Count(raw, []byte(text)), raw, err
}

// nameOf is the i-th name, of the length that names of services have.
func nameOf(prefix string, i int) string { return fmt.Sprintf("%s/%06d", prefix, i) }

// someValue is what names hold here.
const someValue = `{"port":6379}`

// request is one call of the names from and up to to, a batch if it is not
// single.
func request(method, prefix string, from, to int, single bool) []byte {
	var b []byte
	for i := from; i < to; i++ {
		b = fmt.Appendf(b, `%s{"jsonrpc":"2.0","id":%d,"method":%q,"params":{"name":%q`, comma(i > from), i, method, nameOf(prefix, i))
		if method == "registry.register" {
			b = append(b, `,"value":`+someValue...)
		}
		b = append(b, "}}"...)
	}
	if single {
		return b
	}
	return slices.Concat([]byte("["), b, []byte("]"))
}

func comma(yes bool) string {
	if yes {
		return ","
	}
	return ""
}

// callers is how many load a node at once.
const callers = 16

// load does the names 0 to n of a prefix, so many in a batch (1: unbatched), and
// returns how long it took.
func load(t testing.TB, p *poster, method, prefix string, n, batch int) time.Duration {
	t.Helper()
	done := `"created":true`
	if method == "registry.unregister" {
		done = `"result":null`
	}
	var bodies [][]byte // before the clock runs
	for from := 0; from < n; from += batch {
		bodies = append(bodies, request(method, prefix, from, min(from+batch, n), batch == 1))
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(bodies) {
					return
				}
				want := min((i+1)*batch, n) - i*batch
				if got, raw, err := p.post(bodies[i], done); err != nil || got != want {
					t.Errorf("%s: %d of %d done, %v: %.500s", method, got, want, err, raw)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begun)
}

func perSecond(n int, d time.Duration) int { return int(float64(n) / d.Seconds()) }

// atLeast is [figure] for what is to be large.
func atLeast(t *testing.T, what string, got, aim, floor int) {
	t.Helper()
	t.Logf("figure: %-52s %12v   aim at least %v", what, got, aim)
	bound := floor
	if strict {
		bound = aim
	}
	require.GreaterOrEqual(t, got, bound, what)
}

// bareEcho is what an HTTP server of one empty handler answers, per second or
// after how long, asked as the nodes are.
func bareEcho(t *testing.T, do func(p *poster)) time.Duration {
	t.Helper()
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})}
	addrs, err := harness.FreeAddrs(1)
	require.NoError(t, err)
	server.Addr = addrs[0]
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ListenAndServe()
	}()
	p := newPoster(t, server.Addr)
	require.Eventually(t, func() bool { _, _, err := p.post([]byte("1"), ""); return err == nil }, 5*time.Second, time.Millisecond)
	begun := time.Now()
	do(p)
	took := time.Since(begun)
	p.http.CloseIdleConnections()
	require.NoError(t, server.Close())
	<-ended
	return took
}

// echoBatches is how long a bare HTTP echo takes for so many registers, in batches of
// a hundred, one after the other.
func echoBatches(t *testing.T, n int) time.Duration {
	t.Helper()
	return bareEcho(t, func(p *poster) {
		for from := 0; from < n; from += 100 {
			_, _, err := p.post(request("registry.register", "echo", from, min(from+100, n), false), "")
			require.NoError(t, err)
		}
	})
}

// besideEcho tells how much of such an echo something took.
func besideEcho(t *testing.T, what string, took time.Duration, n int) {
	t.Helper()
	echo := echoBatches(t, n)
	t.Logf("a bare HTTP echo of the same %d registers, one batch of 100 after the other, in the same run takes %s: %s takes %.2f of it", n, echo, what, float64(took)/float64(echo))
}

// registerLatency: one caller registers names one after the other.
func registerLatency(t *testing.T) {
	n := rounds(200, 4000)
	c := start(t, harness.ProcessOptions{Nodes: 3})
	p := newPoster(t, c.Node("n1").HTTP)
	var took []time.Duration
	for i := range n + 100 {
		body := request("registry.register", "lat", i, i+1, true)
		begun := time.Now()
		got, raw, err := p.post(body, `"created":true`)
		if i >= 100 { // the first warm up
			took = append(took, time.Since(begun))
		}
		require.NoError(t, err)
		require.Equal(t, 1, got, "%s", raw)
	}
	slices.Sort(took)
	echo := bareEcho(t, func(p *poster) {
		for i := range n {
			_, _, err := p.post(request("registry.register", "lat", i, i+1, true), "")
			require.NoError(t, err)
		}
	}) / time.Duration(n)
	p50, p99 := took[n/2], took[n*99/100]
	t.Logf("a bare HTTP echo in the same run takes %s: register p50 is %.1f of it", echo, float64(p50)/float64(echo))
	figure(t, "register, acknowledged by three, 1 caller, p50", p50, 600*time.Microsecond, time.Second)
	figure(t, "register, acknowledged by three, 1 caller, p99", p99, 3*time.Millisecond, 5*time.Second)
}

// registerRate: sixteen callers, each its next batch when the one before is
// answered.
func registerRate(t *testing.T) {
	c := start(t, harness.ProcessOptions{Nodes: 3})
	p := newPoster(t, c.Node("n1").HTTP)
	load(t, p, "registry.register", "warm", rounds(200, 4000), 100)
	n := rounds(1000, 60_000)
	before := cpu(t, c)
	batched := perSecond(n, load(t, p, "registry.register", "batched", n, 100))
	spent := cpu(t, c)
	for node := range spent {
		spent[node] = (spent[node] - before[node]) / time.Duration(n)
	}
	t.Logf("processor time of a batched register, by node: %v", spent)
	echo := perSecond(n, echoBatches(t, n))
	n = rounds(500, 10_000)
	single := perSecond(n, load(t, p, "registry.register", "single", n, 1))
	t.Logf("a bare HTTP echo of the same batches, one after the other, in the same run passes %d items a second: registers are %.2f of that", echo, float64(batched)/float64(echo))
	t.Logf("figure: %-52s %12d", "registers a second, 16 callers, unbatched", single)
	atLeast(t, "registers a second, 16 callers, batches of 100", batched, 20_000, 100)
}

// emptyEcho is set for a process that is an empty handler of the router that nodes
// have, at this address.
const emptyEcho = "GLASSBOX_EMPTY_ECHO"

// lookupRate: sixteen callers look names of another node up over HTTP, in turn
// with an empty handler.
func lookupRate(t *testing.T) {
	const names = 1000
	c := start(t, harness.ProcessOptions{Nodes: 3})
	load(t, newPoster(t, c.Node("n2").HTTP), "registry.register", "look", names, 100)
	addrs, err := harness.FreeAddrs(1)
	require.NoError(t, err)
	empty := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestPromisesOfNames$")
	empty.Env = append(os.Environ(), emptyEcho+"="+addrs[0])
	require.NoError(t, empty.Start())
	end := sync.OnceFunc(func() {
		require.NoError(t, empty.Process.Kill())
		require.Error(t, empty.Wait())
	})
	defer end()
	p := newPoster(t, addrs[0])
	get := func(base string, i int) (err error) {
		answer, err := p.http.Get("http://" + base + nameOf("look", i%names))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if _, err = io.Copy(io.Discard, answer.Body); answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", answer.StatusCode)
		}
		return err
	}
	bases := []string{addrs[0] + "/empty/", addrs[0] + "/same/", c.Node("n1").HTTP + "/api/v1/registry/"}
	require.Eventually(t, func() bool { return get(bases[0], 0) == nil }, 5*time.Second, 10*time.Millisecond)
	n := rounds(200, 2000)
	before := cpu(t, c)
	turns := rounds(2, 21)
	took := make([][3]time.Duration, turns)
	for turn := range turns {
		for which, base := range bases {
			begun := time.Now()
			rpctest.Spread(t, callers, n, func() error { return get(base, int(lookups.Add(1))) })
			took[turn][which] = time.Since(begun)
		}
	}
	// What else runs here hits all three of a turn: their ratio is taken turn by turn.
	middle := func(of func(turn [3]time.Duration) float64) float64 {
		values := make([]float64, turns)
		for i := range took {
			values[i] = of(took[i])
		}
		slices.Sort(values)
		return values[turns/2]
	}
	spent := cpu(t, c)["n1"] - before["n1"]
	end()
	t.Logf("processor time of a lookup: %s; of an answer without one, its process's start included: %s", spent/time.Duration(n*turns),
		(empty.ProcessState.UserTime()+empty.ProcessState.SystemTime())/time.Duration(2*n*turns))
	for i, what := range []string{"an empty echo handler, requests a second", "one that answers the same bytes", "lookups a second over HTTP, 16 callers"} {
		rate := middle(func(turn [3]time.Duration) float64 { return float64(n) / turn[i].Seconds() })
		t.Logf("figure: %-52s %12.0f", what, rate)
	}
	share := func(which int) int {
		return int(100 * middle(func(turn [3]time.Duration) float64 { return float64(turn[which]) / float64(turn[2]) }))
	}
	t.Logf("figure: %-52s %12d", "lookups, percent of the same bytes", share(1))
	atLeast(t, "lookups, percent of an empty handler", share(0), 80, 10)
}

// lookups counts them, so that each is of another name.
var lookups atomic.Int64

// nodeFigures are a node's own.
func nodeFigures(t *testing.T, c *harness.Processes, node string, wait time.Duration) (m operations.Metrics, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	var info operations.NodeInfo
	err = c.Node(node).Client().Call(ctx, "node.info", map[string]any{"node": node}, &info)
	return info.Metrics, err
}

// cpu is the processor time that each node has used.
func cpu(t *testing.T, c *harness.Processes) map[string]time.Duration {
	t.Helper()
	used := map[string]time.Duration{}
	for _, node := range c.Names() {
		m, err := nodeFigures(t, c, node, 5*time.Second)
		require.NoError(t, err)
		used[node] = time.Duration(m.CPUSeconds * float64(time.Second))
	}
	return used
}

// resident is the largest resident memory of some processes once they no longer
// shrink: the runtime gives back what it does not need, but not at once.
func resident(t testing.TB, settle time.Duration, pids ...int) (worst int64) {
	t.Helper()
	least := make([]int64, len(pids))
	for until := time.Now().Add(settle); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		for i, pid := range pids {
			rss, err := harness.RSS(pid)
			require.NoError(t, err)
			if least[i] == 0 || rss < least[i] {
				least[i] = rss
			}
		}
	}
	return slices.Max(least)
}

// bareRows is set for a process that is to be measured as a bare go-memdb.
const bareRows = "GLASSBOX_BARE_ROWS"

// settle is how long memory is looked at.
func settle() time.Duration { return time.Duration(rounds(200, 5000)) * time.Millisecond }

// reportBare fills a bare go-memdb and prints how much memory that added.
func reportBare(t *testing.T, rows string) {
	n, err := strconv.Atoi(rows)
	require.NoError(t, err)
	debug.FreeOSMemory() // as a node does when it is idle
	before := resident(t, settle()/10, os.Getpid())
	begun := time.Now()
	bare, err := memdbtest.Fill(n, "n1", func(i int) string { return nameOf("many", i) }, json.RawMessage(someValue))
	require.NoError(t, err)
	took := time.Since(begun)
	debug.FreeOSMemory()
	after := resident(t, settle()/10, os.Getpid())
	_, found := bare.Holder(nameOf("many", n-1))
	require.True(t, found)
	fmt.Printf("bare %d %d\n", after-before, took.Microseconds())
}

// bare runs reportBare in a process of its own.
func bare(t *testing.T, n int) (rss int64, took time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestPromisesOfNames$", "-test.count", "1")
	cmd.Env = append(os.Environ(), bareRows+"="+strconv.Itoa(n))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	_, rest, ok := strings.Cut(string(out), "bare ")
	require.True(t, ok, "%s", out)
	fields := strings.Fields(rest)
	rss, err = strconv.ParseInt(fields[0], 10, 64)
	require.NoError(t, err)
	us, err := strconv.Atoi(fields[1])
	require.NoError(t, err)
	return rss, time.Duration(us) * time.Microsecond
}

const mb = 1 << 20

// manyNames: 100,000 names from one node come to all; what they take on a peer;
// and a node that is born again is whole again.
func manyNames(t *testing.T) {
	n := rounds(2000, 100_000)
	c := start(t, harness.ProcessOptions{Nodes: 3})
	before := resident(t, settle(), c.Node("n2").PID())
	p := newPoster(t, c.Node("n1").HTTP)
	begun := time.Now()
	load(t, p, "registry.register", "many", n, 100)
	for _, node := range c.Names() {
		whole(t, c, node, n, begun)
	}
	took := time.Since(begun)
	after := resident(t, settle(), c.Node("n2").PID())
	bareRSS, bareTook := bare(t, n)
	added := after - before
	t.Logf("memory added by %d names: on a peer %.1f MB, to a bare go-memdb %.1f MB, %.2f of it; go-memdb alone was filled in %s",
		n, float64(added)/mb, float64(bareRSS)/mb, float64(added)/float64(bareRSS), bareTook)
	besideEcho(t, "until all know them", took, n)
	figure(t, fmt.Sprintf("%d names from one node known to all", n), took, 4*time.Second, time.Minute)
	if strict {
		figure(t, "memory they add on a peer, percent of a bare go-memdb", added*100/bareRSS, 150, 150)
	}

	var worst time.Duration
	for range rounds(1, 3) {
		require.NoError(t, c.Node("n3").Kill())
		begun := time.Now()
		require.NoError(t, c.Node("n3").Start(t.Context()))
		whole(t, c, "n3", n, begun)
		worst = max(worst, time.Since(begun))
		formed(t, c)
	}
	besideEcho(t, "being whole again", worst, n)
	figure(t, fmt.Sprintf("node reborn into %d names whole again, worst", n), worst, 2*time.Second, time.Minute)
}

// whole waits until a node has so many names.
func whole(t *testing.T, c *harness.Processes, node string, n int, begun time.Time) {
	t.Helper()
	for now := range tick(t, 5*time.Millisecond) {
		if m, err := nodeFigures(t, c, node, 5*time.Second); err == nil && m.Rows >= n+3 { // and the rows of the nodes
			return
		}
		require.Less(t, now.Sub(begun), time.Minute)
	}
}

// idleWithNames: the memory of a node with 10,000 names, before and after the
// changes that an hour brings.
func idleWithNames(t *testing.T) {
	n, churn := rounds(500, 10_000), rounds(500, 36_000)
	c := start(t, harness.ProcessOptions{Nodes: 3})
	p := newPoster(t, c.Node("n1").HTTP)
	load(t, p, "registry.register", "idle", n, 100)
	var pids []int
	for _, node := range c.Nodes() {
		pids = append(pids, node.PID())
	}
	idle := resident(t, settle(), pids...)
	for done := 0; done < churn; done += n { // ten a second, for an hour
		load(t, p, "registry.unregister", "idle", n, 100)
		load(t, p, "registry.register", "idle", n, 100)
	}
	churned := resident(t, settle(), pids...)
	figure(t, fmt.Sprintf("idle node with %d names, resident kB, worst", n), idle/1000, 50_000, 100_000)
	figure(t, "the same after an hour's churn, resident kB, worst", churned/1000, 50_000, 100_000)
}

// healNames: the same names on both sides of a partition; when it is over all
// agree who holds which.
func healNames(t *testing.T) {
	n := rounds(100, 1000)
	c := start(t, harness.ProcessOptions{Nodes: 3, Break: true, Preset: "local"})
	watches := watch(t, c)
	var worst time.Duration
	for round := range rounds(1, 3) {
		prefix := fmt.Sprintf("heal%d", round)
		_, err := c.Break(t.Context(), harness.Link{Node: "n3"})
		require.NoError(t, err)
		apart(t, c)
		for _, node := range []string{"n1", "n3"} {
			load(t, newPoster(t, c.Node(node).HTTP), "registry.register", prefix, n, 100)
		}
		from := make([]int, len(watches))
		for i, w := range watches {
			from[i] = len(w.Events())
		}
		_, err = c.Heal(t.Context())
		require.NoError(t, err)
		agreed := agree(t, c, prefix, n)
		formed(t, c)
		restored := time.Now()
		for i, w := range watches {
			for _, e := range w.Events()[from[i]:] {
				if e.Type == "MemberJoined" || e.Type == "MemberRecovered" {
					restored = earlier(restored, e)
				}
			}
		}
		t.Logf("round %d: all agreed %s after the first restored link", round, agreed.Sub(restored))
		worst = max(worst, agreed.Sub(restored))
	}
	besideEcho(t, "agreeing", worst, n)
	figure(t, fmt.Sprintf("heal with %d names on both sides: all agree, worst", n), worst, 200*time.Millisecond, 30*time.Second)
}

func earlier(at time.Time, e harness.Event) time.Time {
	if e.Arrived.Before(at) {
		return e.Arrived
	}
	return at
}

// apart waits until the two sides have given each other up.
func apart(t *testing.T, c *harness.Processes) {
	t.Helper()
	require.Eventually(t, func() bool {
		for node, alive := range map[string]int{"n1": 2, "n2": 2, "n3": 1} {
			s, err := harness.StatusOf(t.Context(), c, node)
			if err != nil || s.Alive != alive || slices.ContainsFunc(s.Nodes, func(m harness.Member) bool { return m.State == "suspect" }) {
				return false
			}
		}
		return true
	}, 20*time.Second, 20*time.Millisecond)
}

// agree returns when all nodes show the same holders of all names of a prefix.
func agree(t *testing.T, c *harness.Processes, prefix string, n int) time.Time {
	t.Helper()
	begun := time.Now()
	for {
		var lists []map[string]string
		for _, node := range c.Names() {
			lists = append(lists, holders(t, c, node, prefix))
		}
		if len(lists[0]) == n && maps.Equal(lists[0], lists[1]) && maps.Equal(lists[0], lists[2]) {
			return time.Now()
		}
		require.Less(t, time.Since(begun), 30*time.Second, "%d, %d, %d names", len(lists[0]), len(lists[1]), len(lists[2]))
		time.Sleep(time.Millisecond) // a pause, not a wait for something
	}
}

// holders lists who holds the names of a prefix, as a node sees it.
func holders(t *testing.T, c *harness.Processes, node, prefix string) map[string]string {
	t.Helper()
	var list operations.NameList
	require.NoError(t, c.Node(node).Client().Call(t.Context(), "registry.list", map[string]any{"prefix": prefix + "/", "limit": 1000}, &list))
	held := map[string]string{}
	for _, name := range list.Names {
		held[name.Name] = name.Holder.Node
	}
	return held
}
