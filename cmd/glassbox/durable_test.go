package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/memdb"
)

// killRounds is how often a node, or all of them, are killed.
const killRounds = 20

// programMark is in the environment of all programs of the test.
const programMark = "DURABLE_TEST_OF_GLASSBOX"

// promised is what the users were answered.
type promised struct {
	mu      sync.Mutex
	created map[string]string // uid by id: acknowledged, and nobody has asked to destroy it
	gone    map[string]bool   // destruction acknowledged
}

// TestKillLosesNothingAcknowledged: nodes with data folders are killed in the midst
// of creates and destroys, one or all at once, and started again. What was
// acknowledged as created runs, the same creation, and nothing that was acknowledged
// as destroyed is there. At the end no program is left.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	mark := "GLASSBOX_DURABLE_TEST=" + t.Name()
	c, err := harness.StartProcesses(t.Context(), harness.ProcessOptions{
		Binary: exe, Nodes: 3, Dir: t.TempDir(), Data: t.TempDir(), Preset: "local", Env: append(os.Environ(), mark),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	agreed := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := harness.WaitAgreed(ctx, c)
		require.NoError(t, err)
	}
	agreed()
	p := &promised{created: map[string]string{}, gone: map[string]bool{}}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range killRounds {
		var users sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		for i, n := range c.Nodes() {
			for j := range 2 {
				users.Go(func() { p.use(ctx, n, fmt.Sprintf("r%d-%d-%d", round, i, j), j) })
			}
		}
		select {
		case <-time.After(time.Duration(50+random.IntN(450)) * time.Millisecond):
		case <-t.Context().Done():
		}
		victims := c.Nodes()
		if round%4 != 3 {
			victims = victims[round%3 : round%3+1]
		}
		for _, n := range victims {
			require.NoError(t, n.Kill())
		}
		stop()
		users.Wait()
		for _, n := range victims {
			require.NoError(t, n.Start(t.Context()))
		}
		agreed()
		p.check(t, c, round)
	}
	require.NotEmpty(t, p.gone)
	t.Logf("%d creates and %d destroys were acknowledged", len(p.created)+len(p.gone), len(p.gone))
	for id := range p.created {
		require.NoError(t, c.Nodes()[0].Client().Call(t.Context(), "sandbox.destroy", map[string]any{"sandbox_id": id}, nil))
	}
	require.NoError(t, c.Close())
	for _, text := range []string{mark, programMark} {
		left, err := harness.Marked(text)
		require.NoError(t, err)
		require.Empty(t, left, "nodes, guardians or programs are left")
	}
}

// use creates sandboxes and destroys every other one, the first or the second, until
// ctx ends or its node does.
func (p *promised) use(ctx context.Context, n *harness.Node, prefix string, first int) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("%s-%d", prefix, i)
		spec := map[string]any{"id": id, "children": []any{map[string]any{"id": "a", "run": map[string]any{"exec": []string{"sh", "-c", "sleep 600 & wait"}}, "shutdown_ms": 0, "env": map[string]string{programMark: "yes"}}}}
		var row memdb.Sandbox
		if n.Client().Call(ctx, "sandbox.create", spec, &row) != nil {
			continue // it may be there or not
		}
		if i%2 == first {
			p.mu.Lock()
			p.created[id] = row.UID
			p.mu.Unlock()
			continue
		}
		if n.Client().Call(ctx, "sandbox.destroy", map[string]any{"sandbox_id": id}, nil) == nil {
			p.mu.Lock()
			p.gone[id] = true
			p.mu.Unlock()
		}
	}
}

func (p *promised) check(t *testing.T, c *harness.Processes, round int) {
	t.Helper()
	for _, n := range c.Nodes() {
		var missing []string
		there := map[string]memdb.Sandbox{}
		require.Eventually(t, func() bool {
			missing, there = nil, map[string]memdb.Sandbox{}
			var list operations.SandboxList
			if err := n.Client().Call(t.Context(), "sandbox.list", map[string]any{"limit": 1000}, &list); err != nil {
				missing = []string{err.Error()}
				return false
			}
			for _, row := range list.Sandboxes {
				there[row.ID] = row
			}
			for id, uid := range p.created {
				if row := there[id]; row.UID != uid || row.Status != memdb.SandboxRunning {
					missing = append(missing, fmt.Sprintf("%s (%s) is %q of %s: %s", id, uid, row.Status, row.UID, row.Why))
				}
			}
			return len(missing) == 0
		}, 20*time.Second, 20*time.Millisecond, "round %d: %s shows not as promised: %v", round, n.Name, &missing)
		for id := range p.gone {
			require.NotContains(t, there, id, "round %d: %s was destroyed", round, id)
		}
		if n.Name == "n1" {
			checkPrograms(t, n, round)
		}
	}
}

// checkPrograms counts what runs, once what nobody was answered has been settled:
// nothing of a former life of a sandbox goes on.
func checkPrograms(t *testing.T, n *harness.Node, round int) {
	t.Helper()
	const each = 2 // a shell and what it started
	var list operations.SandboxList
	var programs []int
	for until := time.Now().Add(20 * time.Second); ; {
		before := list
		list = operations.SandboxList{}
		require.NoError(t, n.Client().Call(t.Context(), "sandbox.list", map[string]any{"limit": 1000}, &list))
		var err error
		programs, err = harness.Marked(programMark)
		require.NoError(t, err)
		all := !slices.ContainsFunc(list.Sandboxes, func(row memdb.Sandbox) bool { return row.Status != memdb.SandboxRunning })
		if all && len(before.Sandboxes) == len(list.Sandboxes) && len(programs) == each*len(list.Sandboxes) {
			return
		}
		if time.Now().After(until) {
			for _, row := range list.Sandboxes {
				t.Logf("%s is %s on %s: %s", row.ID, row.Status, row.Node, row.Why)
			}
			require.FailNow(t, "other programs run than should", "round %d: %d sandboxes run %d processes", round, len(list.Sandboxes), len(programs))
		}
		<-time.After(50 * time.Millisecond)
	}
}

// TestForceWhenTheHostWasKilled: a killed host's sandbox is unknown and keeps its
// id; destroyed by force it is no more, and its host, back with its data folder, does
// not start it again.
func TestForceWhenTheHostWasKilled(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	c, err := harness.StartProcesses(t.Context(), harness.ProcessOptions{
		Binary: exe, Nodes: 3, Dir: t.TempDir(), Data: t.TempDir(), Preset: "local",
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = harness.WaitAgreed(t.Context(), c)
	require.NoError(t, err)
	n1, n3 := c.Node("n1"), c.Node("n3")
	for _, id := range []string{"far", "near"} {
		spec := map[string]any{"id": id, "children": []any{map[string]any{"id": "a", "run": map[string]any{"exec": []string{"sleep", "600"}}}}}
		require.NoError(t, n3.Client().Call(t.Context(), "sandbox.create", spec, nil))
	}
	require.NoError(t, n3.Kill())
	list := func(n *harness.Node) string {
		var list operations.SandboxList
		if err := n.Client().Call(t.Context(), "sandbox.list", nil, &list); err != nil {
			return err.Error()
		}
		var all []string
		for _, row := range list.Sandboxes {
			all = append(all, row.ID+" "+string(row.Status))
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	require.Eventually(t, func() bool { return list(n1) == "far unknown, near unknown" }, 10*time.Second, 10*time.Millisecond)
	err = n1.Client().Call(t.Context(), "sandbox.destroy", map[string]any{"sandbox_id": "far"}, nil)
	require.Equal(t, errs.NodeUnavailable, errs.KindOf(err), "%v", err)
	var done operations.SandboxDestroyed
	require.NoError(t, n1.Client().Call(t.Context(), "sandbox.destroy", map[string]any{"sandbox_id": "far", "force": true}, &done))
	require.Equal(t, []string{"n3"}, done.Pending)
	require.Equal(t, "near unknown", list(n1))
	var events struct {
		Events []json.RawMessage `json:"events"`
	}
	dropped := func() int {
		require.NoError(t, n1.Client().Call(t.Context(), "event.list", map[string]any{"types": []string{"SandboxDropped"}}, &events))
		return len(events.Events)
	}
	// It is killed again and again after it has heard of it: that does not bring it back.
	for range 3 {
		require.NoError(t, n3.Start(t.Context()))
		_, err = harness.WaitAgreed(t.Context(), c)
		require.NoError(t, err)
		for _, n := range c.Nodes() {
			require.Eventually(t, func() bool { return list(n) == "near running" }, 10*time.Second, 10*time.Millisecond, "%s", n.Name)
		}
		require.Eventually(t, func() bool { return dropped() == 1 }, 10*time.Second, 10*time.Millisecond, "its event has come before it is killed")
		require.NoError(t, n3.Kill())
	}
	require.Equal(t, 1, dropped(), "once, and then it was not even on its disk")
}
