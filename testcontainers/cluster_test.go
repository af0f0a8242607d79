package testcontainers

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

// observed is a cluster and the events of its nodes.
type observed struct {
	*Containers
	watches map[string]*harness.Watch
}

func observe(t *testing.T, c *Containers) *observed {
	t.Helper()
	o := &observed{c, map[string]*harness.Watch{}}
	for _, node := range c.Names() {
		w, err := harness.WatchNode(t.Context(), c, node)
		require.NoError(t, err)
		t.Cleanup(w.Close)
		o.watches[node] = w
	}
	return o
}

// told waits until nodes were told of an event about another one, and returns
// when the last of them was.
func (o *observed) told(t *testing.T, since time.Time, event, about string, nodes ...string) time.Time {
	t.Helper()
	ctx := within(t, 30*time.Second)
	last := since
	for _, node := range nodes {
		e, err := o.watches[node].Wait(ctx, func(e harness.Event) bool {
			return e.Type == event && e.Subject == about && e.Node == node && !e.Arrived.Before(since)
		})
		require.NoError(t, err, "%s of %s", event, about)
		t.Logf("%s after %s: %s of %s: %s", node, e.Arrived.Sub(since).Round(time.Millisecond), event, about, e.Why)
		if e.Arrived.After(last) {
			last = e.Arrived
		}
	}
	return last
}

// deaths counts what nodes were told of the end of others since a moment.
func (o *observed) deaths(since time.Time) int {
	n := 0
	for _, w := range o.watches {
		for _, e := range w.Events() {
			if e.Type == "MemberFailed" && e.Arrived.After(since) {
				n++
			}
		}
	}
	return n
}

func (o *observed) ping(t *testing.T, by, node string) (time.Duration, error) {
	t.Helper()
	begun := time.Now()
	err := harness.Client(o, by).Call(within(t, 10*time.Second), "node.ping", map[string]any{"node": node}, nil)
	return time.Since(begun), err
}

// alive asks a node whether we reach it.
func (o *observed) alive(t *testing.T, node string) error {
	return harness.Client(o, node).Live(within(t, 2*time.Second))
}

// reach is how a node reaches another one: "direct", "via n3" or "none".
func (o *observed) reach(t *testing.T, by, node string) string {
	t.Helper()
	s, err := harness.StatusOf(t.Context(), o, by)
	require.NoError(t, err)
	i := slices.IndexFunc(s.Nodes, func(m harness.Member) bool { return m.Name == node })
	require.GreaterOrEqual(t, i, 0)
	return s.Nodes[i].Reach
}

// TestFaults does everything that can be done to a cluster to one, one after the
// other.
func TestFaults(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs") // is made
	c, took := formed(t, Options{Nodes: 3, AllowFaults: true, Dir: dir})
	figure(t, "three nodes formed, from the last container's start", took, 2*time.Second, 10*time.Second)
	require.Equal(t, harness.TargetDocker, c.Target())
	require.Equal(t, []string{"n1", "n2", "n3"}, c.Names())
	o := observe(t, c)
	for _, step := range []struct {
		name string
		do   func(*testing.T, *observed)
	}{
		{"published_here_only", publishedHereOnly},
		{"memory", memory},
		{"kill", kill},
		{"freeze", freeze},
		{"cut", cut},
		{"cut_pair", cutPair},
		{"cut_one_way", cutOneWay},
		{"cut_then_killed", cutThenKilled},
		{"loss", loss},
		{"delay", delayed},
		{"disconnect", disconnect},
		{"disconnect_then_killed", disconnectThenKilled},
		{"break_given_up", breakGivenUp},
		{"leave", leave},
		{"mistakes", mistakes},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.do(t, o) }) {
			return // the next one would only tell of this one
		}
		agreed(t, c)
	}
	closed(t, o, dir)
}

// publishedHereOnly: a node's API is at the loopback address and nowhere else.
func publishedHereOnly(t *testing.T, o *observed) {
	if !o.engine.publish.IsLoopback() {
		t.Skip("the engine is elsewhere or beside: it publishes at another address")
	}
	n, err := o.on("n1")
	require.NoError(t, err)
	info, err := n.container.Inspect(t.Context())
	require.NoError(t, err)
	for port, bindings := range info.NetworkSettings.Ports {
		require.EqualValues(t, httpPort, port.Num())
		require.Len(t, bindings, 1)
		require.True(t, bindings[0].HostIP.IsLoopback(), "published at %s", bindings[0].HostIP)
	}
	c := harness.Client(o, "n1")
	c.Token = ""
	require.Error(t, c.Call(t.Context(), "cluster.status", nil, nil), "without the token")
}

func memory(t *testing.T, o *observed) {
	n, err := o.on("n1")
	require.NoError(t, err)
	info, err := n.container.Inspect(t.Context())
	require.NoError(t, err)
	if !isContainer(info.State.Pid, info.ID) {
		t.Skip("the engine's processes are not seen from here")
	}
	require.False(t, isContainer(os.Getpid(), info.ID))
	worst, least := harness.Memory{}, harness.Memory{Charged: math.MaxInt64}
	for _, node := range o.Names() {
		m, err := o.Memory(t.Context(), node)
		require.NoError(t, err)
		worst.RSS, worst.Charged = max(worst.RSS, m.RSS), max(worst.Charged, m.Charged)
		if m.Charged < least.Charged {
			least = m
		}
	}
	t.Logf("figure: idle node, VmRSS %.1f MB, charged %.1f MB, worst; aim 25 MB", float64(worst.RSS)/1e6, float64(worst.Charged)/1e6)
	require.LessOrEqual(t, worst.RSS, int64(50e6))
	require.LessOrEqual(t, worst.Charged, int64(50e6))
	require.Positive(t, least.Charged)
	// Those of the binary are charged to whichever node reads them first.
	require.Less(t, least.Charged, least.RSS, "pages of the binary are not charged to each")
	own, err := o.ownRSS(t.Context(), "n1")
	require.NoError(t, err)
	require.InDelta(t, worst.RSS, own, 10e6, "what the node says of itself")
}

func kill(t *testing.T, o *observed) {
	asked := time.Now()
	at, err := o.Kill(t.Context(), "n3")
	require.NoError(t, err)
	require.WithinRange(t, at, asked, time.Now())
	end, ended := o.Ending("n3")
	require.True(t, ended)
	require.Equal(t, harness.Ending{Code: -1, Signal: "killed"}, end)
	require.False(t, end.Crashed())
	require.Equal(t, []string{"n1", "n2"}, harness.Running(o))
	told := o.told(t, asked, "MemberFailed", "n3", "n1", "n2")
	figure(t, "kill known to all, from the end the engine reports", max(0, told.Sub(at)), 200*time.Millisecond, 5*time.Second)
	figure(t, "  the engine's own call", time.Since(asked), 2*time.Second, time.Minute)

	begun := time.Now()
	twice := make(chan error, 2) // only one is a start
	for range cap(twice) {
		go func() { twice <- o.Start(t.Context(), "n3") }()
	}
	first, second := <-twice, <-twice
	if first != nil {
		first, second = second, first
	}
	require.NoError(t, first)
	require.ErrorContains(t, second, "it runs already")
	_, ended = o.Ending("n3")
	require.False(t, ended)
	figure(t, "started again: all agree", agreed(t, o.Containers).Sub(begun), 4*time.Second, time.Minute)
}

func freeze(t *testing.T, o *observed) {
	at, err := o.Freeze(t.Context(), "n3")
	require.NoError(t, err)
	told := o.told(t, at, "MemberFailed", "n3", "n1", "n2")
	figure(t, "freeze known to all", told.Sub(at), 2800*time.Millisecond, 5*time.Second)
	_, ended := o.Ending("n3")
	require.False(t, ended, "it only sleeps")
	at, err = o.Thaw(t.Context(), "n3")
	require.NoError(t, err)
	figure(t, "thawed: all agree", agreed(t, o.Containers).Sub(at), 2*time.Second, time.Minute)
}

func cut(t *testing.T, o *observed) {
	begun := time.Now()
	at, err := o.Break(t.Context(), harness.Link{Node: "n3"})
	require.NoError(t, err)
	t.Logf("figure: a helper started and told took %s", time.Since(begun).Round(time.Millisecond))
	told := o.told(t, at, "MemberFailed", "n3", "n1", "n2")
	figure(t, "cut known to all", told.Sub(at), 2800*time.Millisecond, 5*time.Second)
	require.NoError(t, o.alive(t, "n3"), "we still reach it")
	o.told(t, at, "MemberFailed", "n1", "n3")

	begun = time.Now()
	at, err = o.Heal(t.Context())
	require.NoError(t, err)
	figure(t, "a change by a helper that is there", time.Since(begun), 50*time.Millisecond, 5*time.Second)
	figure(t, "healed: all agree", agreed(t, o.Containers).Sub(at), 4*time.Second, time.Minute)
}

// cutPair: of two nodes that do not reach each other none is dead, since the
// third reaches both.
func cutPair(t *testing.T, o *observed) {
	since := time.Now()
	_, err := o.Break(t.Context(), harness.Link{Node: "n1", Peer: "n2"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return o.reach(t, "n1", "n2") == "via n3" && o.reach(t, "n2", "n1") == "via n3"
	}, 20*time.Second, 20*time.Millisecond)
	wait(t, 3*time.Second) // longer than it takes to declare somebody dead
	require.Zero(t, o.deaths(since))
	_, err = o.Heal(t.Context())
	require.NoError(t, err)
}

// cutOneWay: a node that is not heard, or hears nobody, is dead to the others.
func cutOneWay(t *testing.T, o *observed) {
	for _, d := range []harness.Direction{harness.Out, harness.In} {
		at, err := o.Break(t.Context(), harness.Link{Node: "n3", Direction: d})
		require.NoError(t, err)
		told := o.told(t, at, "MemberFailed", "n3", "n1", "n2")
		figure(t, "cut one way ("+string(d)+") known to all", told.Sub(at), 2800*time.Millisecond, 5*time.Second)
		n, err := o.on("n3")
		require.NoError(t, err)
		for _, rule := range n.faults.rules {
			require.Equal(t, d == harness.In, rule.In)
			require.Equal(t, d == harness.Out, rule.Out)
		}
		_, err = o.Heal(t.Context())
		require.NoError(t, err)
		agreed(t, o.Containers)
	}
}

// cutThenKilled: what was broken ends with the node; started again it is whole.
func cutThenKilled(t *testing.T, o *observed) {
	at, err := o.Break(t.Context(), harness.Link{Node: "n3"})
	require.NoError(t, err)
	o.told(t, at, "MemberFailed", "n3", "n1", "n2")
	_, err = o.Kill(t.Context(), "n3")
	require.NoError(t, err)
	_, err = o.Heal(t.Context())
	require.NoError(t, err, "of one that has ended there is nothing to mend")
	require.NoError(t, o.Start(t.Context(), "n3"))
	agreed(t, o.Containers)
}

// loss: with a third of all packets lost, some calls take longer than any
// without.
func loss(t *testing.T, o *observed) {
	_, err := o.Break(t.Context(), harness.Link{Node: "n3", Peer: "n1", Loss: 0.33})
	require.NoError(t, err)
	node := harness.Client(o, "n1")
	require.Eventually(t, func() bool {
		begun := time.Now() // the call may fail
		_ = node.Call(t.Context(), "node.ping", map[string]any{"node": "n3", "timeout_ms": 1000}, nil)
		return time.Since(begun) > 150*time.Millisecond // a packet is sent again after 200 ms at the earliest
	}, 20*time.Second, time.Millisecond)
	_, err = o.Heal(t.Context())
	require.NoError(t, err)
}

func delayed(t *testing.T, o *observed) {
	_, err := o.Break(t.Context(), harness.Link{Node: "n1", Peer: "n2", Delay: 150 * time.Millisecond})
	require.NoError(t, err)
	took, err := o.ping(t, "n1", "n2")
	require.NoError(t, err)
	require.Greater(t, took, 150*time.Millisecond)
	_, err = o.Heal(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		took, err := o.ping(t, "n1", "n2")
		return err == nil && took < 150*time.Millisecond
	}, 20*time.Second, 10*time.Millisecond)
}

// disconnect: a node without a network is dead to the others, and we do not
// reach it either; connected again it is found.
func disconnect(t *testing.T, o *observed) {
	at, err := o.Disconnect(t.Context(), "n3")
	require.NoError(t, err)
	told := o.told(t, at, "MemberFailed", "n3", "n1", "n2")
	figure(t, "disconnection known to all", told.Sub(at), 2800*time.Millisecond, 5*time.Second)
	require.Error(t, o.alive(t, "n3"))
	at, err = o.Connect(t.Context(), "n3")
	require.NoError(t, err)
	require.NoError(t, o.alive(t, "n3"))
	figure(t, "connected: all agree", agreed(t, o.Containers).Sub(at), 4*time.Second, time.Minute)
}

// disconnectThenKilled: started again, the node is in the network.
func disconnectThenKilled(t *testing.T, o *observed) {
	_, err := o.Disconnect(t.Context(), "n3")
	require.NoError(t, err)
	n, err := o.on("n3")
	require.NoError(t, err)
	_, err = o.look(t.Context(), n, n.lives)
	require.NoError(t, err)
	require.Empty(t, o.HTTP("n3"), "nothing is published any more")
	_, err = o.Kill(t.Context(), "n3")
	require.NoError(t, err)
	require.NoError(t, o.Start(t.Context(), "n3"))
	require.Eventually(t, func() bool { return o.alive(t, "n3") == nil }, 20*time.Second, 10*time.Millisecond)
}

// breakGivenUp: a break that is given up at any moment can be healed; what it
// leaves is gone when the cluster is closed.
func breakGivenUp(t *testing.T, o *observed) {
	for _, moment := range []time.Duration{0, 10 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} {
		n, err := o.on("n3")
		require.NoError(t, err)
		require.NoError(t, o.forgetFaults(t.Context(), n)) // the next one needs a helper again
		ctx, cancel := context.WithTimeout(t.Context(), moment)
		_, err = o.Break(ctx, harness.Link{Node: "n3"})
		cancel()
		t.Logf("given up after %s: %v", moment, err)
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		_, err = o.Heal(t.Context())
		require.NoError(t, err)
	}
}

func leave(t *testing.T, o *observed) {
	asked := time.Now()
	_, err := o.Freeze(t.Context(), "n3") // it is thawed to leave
	require.NoError(t, err)
	require.NoError(t, o.Stop(t.Context(), "n3"))
	require.NoError(t, o.Stop(t.Context(), "n3"), "again")
	end, ended := o.Ending("n3")
	require.True(t, ended)
	require.Equal(t, harness.Ending{}, end)
	o.told(t, asked, "MemberLeft", "n3", "n1", "n2")
	require.NoError(t, o.Start(t.Context(), "n3"))
}

// mistakes are refused with a sentence, and change nothing.
func mistakes(t *testing.T, o *observed) {
	ctx := t.Context()
	require.NoError(t, o.Stop(ctx, "n2"))
	for want, do := range map[string]func() error{
		`no node "n9"; there are [n1 n2 n3]`: func() error { return o.Start(ctx, "n9") },
		"n2 does not run":                    func() error { _, err := o.Kill(ctx, "n2"); return err },
		"n2 does not run; Start starts it":   func() error { _, err := o.Freeze(ctx, "n2"); return err },
		"no direction":                       func() error { _, err := o.Break(ctx, harness.Link{Node: "n1", Direction: "up"}); return err },
		"n1 has no link to itself":           func() error { _, err := o.Break(ctx, harness.Link{Node: "n1", Peer: "n1"}); return err },
		`no node "n8"`:                       func() error { _, err := o.Break(ctx, harness.Link{Node: "n1", Peer: "n8"}); return err },
		`no node "n7"`:                       func() error { _, err := o.Log(ctx, "n7"); return err },
		"thaw n1":                            func() error { _, err := o.Thaw(ctx, "n1"); return err },
		"connect n1":                         func() error { _, err := o.Connect(ctx, "n1"); return err },
	} {
		require.ErrorContains(t, do(), want)
	}
	require.Empty(t, o.HTTP("n9"))
	_, ended := o.Ending("n9")
	require.False(t, ended)
	require.NoError(t, o.Start(ctx, "n2"))
}

// closed: afterwards there is nothing left but what the nodes have logged, all
// of it and of all their lives.
func closed(t *testing.T, o *observed, dir string) {
	before, err := o.Log(t.Context(), "n3")
	require.NoError(t, err)
	require.NoError(t, o.Close())
	require.NoError(t, o.Close(), "again")
	require.Zero(t, left(t, clusterLabel, o.id))
	after, err := o.Log(t.Context(), "n3")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(after, before))
	n, err := o.on("n3")
	require.NoError(t, err)
	require.Equal(t, n.lives, strings.Count(after, "msg=listening"))
	require.Contains(t, lastLine(after), "msg=ended")
	file, err := os.ReadFile(filepath.Join(dir, "n3.log"))
	require.NoError(t, err)
	require.Equal(t, after, string(file))
	for _, node := range o.Names() {
		end, ended := o.Ending(node)
		require.True(t, ended)
		require.Equal(t, harness.Ending{}, end, node)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// wait lets time pass in which nothing must happen.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	<-time.After(d)
}

// left counts the containers and networks with a label.
func left(t *testing.T, label, value string) int {
	t.Helper()
	e, err := theEngine()
	require.NoError(t, err)
	containers, networks, err := labelled(context.Background(), e.api, label, value)
	require.NoError(t, err)
	return len(containers) + len(networks)
}

// TestSizes: seven nodes form too.
func TestSizes(t *testing.T) {
	sizes := []int{7}
	if strict {
		sizes = []int{1, 5, 7, 9}
	}
	for _, nodes := range sizes {
		c, took := formed(t, Options{Nodes: nodes})
		t.Logf("%d nodes", nodes)
		figure(t, "so many formed, from the last container's start", took, 2*time.Second, 20*time.Second)
		require.NoError(t, c.Close())
	}
}

// TestWrongStart: a node that does not start ends as a crash, and says why.
func TestWrongStart(t *testing.T) {
	c := start(t, Options{Nodes: 1, Flags: []string{"--preset", "slow"}})
	require.Eventually(t, func() bool { _, ended := c.Ending("n1"); return ended }, 20*time.Second, 10*time.Millisecond)
	end, _ := c.Ending("n1")
	require.True(t, end.Crashed())
	log, err := c.Log(t.Context(), "n1")
	require.NoError(t, err)
	require.Contains(t, log, "preset")
	_, err = c.Memory(t.Context(), "n1")
	require.ErrorContains(t, err, "does not run")
	require.Error(t, c.Stop(t.Context(), "n2"))
}

// TestStartGivenUp: a start that is given up at any moment leaves nothing.
func TestStartGivenUp(t *testing.T) {
	Need(t)
	o := Options{Nodes: 2, Binary: binary(t)}
	e, err := theEngine()
	require.NoError(t, err)
	_, err = e.image(t.Context(), o) // that takes longer than all moments
	require.NoError(t, err)
	for _, moment := range []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond} {
		c, err := Start(within(t, moment), o)
		if err == nil { // a quick machine
			require.NoError(t, c.Close())
		}
		t.Logf("given up after %s: %v", moment, err)
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		require.Zero(t, left(t, runLabel, e.label))
	}
}

// TestNewImagesStay: another process may be about to use the one it has built.
func TestNewImagesStay(t *testing.T) {
	Need(t)
	e, err := theEngine()
	require.NoError(t, err)
	var names []string
	for _, content := range []string{"one", "another"} {
		file := filepath.Join(t.TempDir(), "program")
		require.NoError(t, os.WriteFile(file, []byte(content), 0o755))
		name, err := e.image(t.Context(), Options{Binary: file, Helper: file})
		require.NoError(t, err)
		names = append(names, name)
	}
	for _, name := range names {
		_, err := e.api.ImageRemove(t.Context(), name, client.ImageRemoveOptions{PruneChildren: true})
		require.NoError(t, err)
	}
}

// TestImageRemovedMeanwhile: by another process that has built its own.
func TestImageRemovedMeanwhile(t *testing.T) {
	Need(t)
	e, err := theEngine()
	require.NoError(t, err)
	c := newContainers(e, Options{Nodes: 2, Binary: binary(t)})
	require.NoError(t, c.layOut(t.Context()))
	c.image = imageName + ":gone"
	require.NoError(t, c.createAll(t.Context()))
	require.NotEqual(t, imageName+":gone", c.image)
	require.NoError(t, c.Close())
	require.Zero(t, left(t, clusterLabel, c.id))
}
