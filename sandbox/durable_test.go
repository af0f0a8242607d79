package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

var errCrashed = errors.New("the node was killed")

// machine is a node's disk and its cluster. It can be killed before or after any of
// the steps that they see: nothing has an effect from then on.
type machine struct {
	mu      sync.Mutex
	steps   int
	killAt  int  // the number of the step; 0: never
	after   bool // it has its effect
	crashed bool

	kept    map[string]memdb.Sandbox
	decreed map[string]bool
	claimed map[string]string // uid by id
	refuse  error             // of claims
	full    error             // of the disk
	claims  int
	slow    time.Duration     // each claim takes
	newer   map[string]uint64 // epochs that ids have got
	lack    int               // of the runtime's starts find no room
	rows    *rows
}

func newMachine() *machine {
	return &machine{kept: map[string]memdb.Sandbox{}, decreed: map[string]bool{}, claimed: map[string]string{}}
}

func (m *machine) step(effect func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps++
	killed := m.steps == m.killAt
	if !m.crashed && (!killed || m.after) {
		effect()
	}
	m.crashed = m.crashed || killed
	if m.crashed {
		return errCrashed
	}
	return nil
}

func (m *machine) Claim(_ context.Context, id, uid string, epoch uint64) (uint64, error) {
	m.mu.Lock()
	m.claims++
	refuse, slow := m.refuse, m.slow
	m.mu.Unlock()
	time.Sleep(slow)
	if refuse != nil {
		return 0, refuse
	}
	return max(epoch, m.newer[id]), m.step(func() { m.claimed[id] = uid })
}
func (m *machine) Release(_ context.Context, id string) error {
	return m.step(func() { delete(m.claimed, id) })
}
func (m *machine) Decree(_ context.Context, d memdb.Destroyed) error {
	if m.full != nil {
		return m.full
	}
	return m.step(func() {
		m.decreed[d.UID] = true
		delete(m.kept, d.UID)
	})
}
func (m *machine) PutSandbox(row memdb.Sandbox) error {
	m.mu.Lock()
	full := m.full
	m.mu.Unlock()
	if full != nil {
		return full
	}
	return m.step(func() { m.kept[row.UID] = row })
}
func (m *machine) DropSandbox(uid string) error { return m.step(func() { delete(m.kept, uid) }) }

// start starts a manager on the machine; what the disk has is restored.
func (m *machine) start(t *testing.T, ready <-chan struct{}, events *[]string) (*sandbox.Manager, func()) {
	m.rows = &rows{sandboxes: map[string]memdb.Sandbox{}, processes: map[string]memdb.Process{}}
	var kept []memdb.Sandbox
	for _, row := range m.kept {
		kept = append(kept, row)
	}
	var mu sync.Mutex
	manager := sandbox.NewManager(sandbox.Config{
		Node: "n1", Incarnation: func() uint64 { return 35 }, Runtime: &fakeRuntime{lack: m.lack}, Store: m.rows,
		Claimer: m, Decrees: m, Disk: m,
		Restored: sandbox.Restored{Rows: kept, Ready: func() <-chan struct{} { return ready }, Refuse: func(row memdb.Sandbox) string {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.decreed[row.UID] {
				return "it was destroyed"
			}
			return ""
		}},
		OnEvent: func(e sandbox.Event) {
			mu.Lock()
			defer mu.Unlock()
			*events = append(*events, fmt.Sprintf("%s %s: %s", e.Type, e.Subject, e.Why))
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- manager.Run(ctx) }()
	synctest.Wait()
	return manager, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func closedChan() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestKilledAtEachStep: whatever the step at which the node is killed, what was
// acknowledged as created is started again as the same creation, and what was
// acknowledged as destroyed is not.
func TestKilledAtEachStep(t *testing.T) {
	whole := 0
	for _, after := range []bool{false, true} {
		for killAt := 1; ; killAt++ {
			over := false
			synctest.Test(t, func(t *testing.T) {
				m := newMachine()
				m.killAt, m.after = killAt, after
				var events []string
				first, stop := m.start(t, closedChan(), &events)
				alive := func() bool {
					m.mu.Lock()
					defer m.mu.Unlock()
					return !m.crashed
				}
				row, err := first.Create(t.Context(), programs("shop", "live"), sandbox.WaitRunning)
				created, destroyed, asked := err == nil && alive(), false, false
				if created {
					asked = true
					destroyed = first.Destroy(t.Context(), "shop", "ann") == nil && alive()
				}
				over = alive()
				m.mu.Lock()
				m.crashed, m.killAt = true, 0
				m.mu.Unlock()
				stop()
				m.crashed = false

				for uid := range m.kept {
					require.False(t, m.decreed[uid], "step %d: both kept and destroyed", killAt)
				}
				again, stop := m.start(t, closedChan(), &events)
				defer stop()
				info, err := again.Info("shop")
				switch {
				case destroyed:
					require.Equal(t, errs.NotFound, errs.KindOf(err), "step %d: it is back", killAt)
				case created && !asked:
					require.NoError(t, err, "step %d: it is lost", killAt)
					require.Equal(t, row.UID, info.Sandbox.UID)
				}
				if err == nil {
					require.Equal(t, memdb.SandboxRunning, info.Sandbox.Status)
					require.NotContains(t, m.decreed, info.Sandbox.UID)
				}
			})
			if over {
				whole = killAt
				break
			}
		}
	}
	require.Greater(t, whole, 4, "claim, disk, decree, release are steps")
}

// TestRestoredAreCandidates: they wait for the gate, and go on asking for their ids
// until those are refused.
func TestRestoredAreCandidates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		var events []string
		first, stop := m.start(t, closedChan(), &events)
		for _, id := range []string{"a", "b", "c"} {
			_, err := first.Create(t.Context(), programs(id, "live"), sandbox.WaitRunning)
			require.NoError(t, err)
		}
		stop()
		require.Len(t, m.kept, 3, "who stops keeps its sandboxes")
		m.claimed = map[string]string{}
		gate := make(chan struct{})
		for uid, row := range m.kept {
			m.decreed[uid] = row.ID == "b"
		}
		m.refuse, m.claims, events = errs.New(errs.NodeUnavailable, "node n2 cannot be asked"), 0, nil
		again, stop := m.start(t, gate, &events)
		defer stop()
		require.Zero(t, m.claims, "the gate is closed")
		require.Empty(t, m.rows.sandboxes)
		_, err := again.Create(t.Context(), programs("a", "live"), sandbox.WaitRunning)
		require.Equal(t, errs.AlreadyExists, errs.KindOf(err))
		close(gate)
		synctest.Wait()
		require.Equal(t, []string{"SandboxDropped b: it was destroyed"}, events)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Greater(t, m.claims, 4, "they ask again")
		m.mu.Lock()
		m.refuse = nil
		m.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, m.rows.sandboxes, 2)
		require.Contains(t, events, "SandboxCreated a: restored from this node's data folder")

		uid := m.rows.sandboxes["c"].UID
		again.Evict("a", "its id is another's")
		again.Condemn(uid, "by node n2")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, m.rows.sandboxes)
		require.Empty(t, m.kept)
		require.Contains(t, events, "SandboxDestroyed a: its id is another's")
		require.Contains(t, events, "SandboxDestroyed c: by node n2")
	})
}

// TestRestart: the same creation, new processes, a fresh count of restarts; also of
// one that has failed.
func TestRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		row, err := w.Create(t.Context(), programs("shop", "live", "live"), sandbox.WaitRunning)
		require.NoError(t, err)
		before, err := w.Info("shop")
		require.NoError(t, err)
		for range 5 { // more than max_restarts
			again, err := w.Restart(t.Context(), "shop", "ann")
			require.NoError(t, err)
			require.Equal(t, row.UID, again.UID)
			require.Equal(t, memdb.SandboxRunning, again.Status)
		}
		after, err := w.Info("shop")
		require.NoError(t, err)
		require.Len(t, after.Processes, 3)
		require.NotEqual(t, before.Processes[0].PID, after.Processes[0].PID, "the supervisor too")
		require.Equal(t, 5, after.Processes[1].Restarts)
		require.Contains(t, after.History[0].Exit.By, "the sandbox is restarted")
		require.Contains(t, w.events, "SandboxRestarted shop: restarted by ann")

		_, err = w.Create(t.Context(), programs("bad", "short"), sandbox.WaitRunning)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		info, err := w.Info("bad")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxFailed, info.Sandbox.Status)
		again, err := w.Restart(t.Context(), "bad", "ann")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxRunning, again.Status)
		time.Sleep(time.Minute)
		info, err = w.Info("bad")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxFailed, info.Sandbox.Status, "it has its restarts once more, and not for ever")

		_, err = w.Restart(t.Context(), "nobody", "ann")
		require.Equal(t, errs.NotFound, errs.KindOf(err))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = w.Restart(ctx, "shop", "ann")
		require.Equal(t, errs.Timeout, errs.KindOf(err))
		require.NoError(t, w.Destroy(t.Context(), "shop", "ann"), "while it restarts")
		require.NoError(t, w.Destroy(t.Context(), "bad", "ann"))
	})
}

// TestTheDiskIsFull: what cannot be kept is not created, and its id is free again;
// what cannot be decreed is not destroyed, and runs on.
func TestTheDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		var events []string
		manager, stop := m.start(t, closedChan(), &events)
		defer stop()
		_, err := manager.Create(t.Context(), programs("old", "live"), sandbox.WaitRunning)
		require.NoError(t, err)

		m.full = errs.New(errs.Internal, "the disk is full")
		_, err = manager.Create(t.Context(), programs("new", "live"), sandbox.WaitRunning)
		require.ErrorContains(t, err, "the disk is full")
		synctest.Wait()
		require.Len(t, m.claimed, 1)
		require.Len(t, m.rows.sandboxes, 1)
		require.ErrorContains(t, manager.Destroy(t.Context(), "old", "ann"), "the disk is full")
		info, err := manager.Info("old")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxRunning, info.Sandbox.Status)

		m.full = nil
		_, err = manager.Create(t.Context(), programs("new", "live"), sandbox.WaitRunning)
		require.NoError(t, err)
		require.NoError(t, manager.Destroy(t.Context(), "old", "ann"))
		require.NoError(t, manager.Destroy(t.Context(), "new", "ann"))
		require.Empty(t, m.claimed)
		require.Empty(t, m.kept)
	})
}

// TestAFullDiskLosesNothing: what was acknowledged stays on the disk and is started
// again, with the epoch it had without writing anything, with another one when that is
// kept.
func TestAFullDiskLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		var events []string
		first, stop := m.start(t, closedChan(), &events)
		for _, id := range []string{"old", "far"} {
			_, err := first.Create(t.Context(), programs(id, "live"), sandbox.WaitRunning)
			require.NoError(t, err)
		}
		stop()
		m.full = errs.New(errs.Internal, "the disk is full")
		m.newer = map[string]uint64{"far": 7}
		again, stop := m.start(t, closedChan(), &events)
		defer stop()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Len(t, m.kept, 2)
		info, err := again.Info("old")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxRunning, info.Sandbox.Status, "there is nothing to write")
		require.NotContains(t, m.rows.sandboxes, "far", "its epoch is not kept")
		m.mu.Lock()
		m.full = nil
		m.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 7, m.rows.sandboxes["far"].Epoch)
		require.EqualValues(t, 7, m.kept[m.rows.sandboxes["far"].UID].Epoch)
	})
}

// TestDestroyedWhileItWaitsForItsID: nothing of it is ever started, and nothing is left.
func TestDestroyedWhileItWaitsForItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		m.slow = 5 * time.Second
		var events []string
		manager, stop := m.start(t, closedChan(), &events)
		defer stop()
		created := make(chan error, 1)
		go func() {
			_, err := manager.Create(t.Context(), programs("shop", "live"), sandbox.WaitRunning)
			created <- err
		}()
		synctest.Wait()
		info, err := manager.Info("shop")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxStarting, info.Sandbox.Status)
		require.NoError(t, manager.Destroy(t.Context(), "shop", "ann"))
		require.ErrorContains(t, <-created, "destroyed while it started")
		require.Empty(t, m.claimed)
		require.Empty(t, m.kept)
		require.Empty(t, m.rows.sandboxes)
		require.Equal(t, []string{"SandboxCreated shop: ", "SandboxDestroyed shop: destroyed by ann"}, events)
	})
}

// TestRestartOfWhatIsBeingDestroyed is refused at once.
func TestRestartOfWhatIsBeingDestroyed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), programs("shop", "live"), sandbox.WaitRunning)
		require.NoError(t, err)
		destroyed := make(chan error, 1)
		go func() { destroyed <- w.Destroy(t.Context(), "shop", "ann") }()
		synctest.Wait()
		begin := time.Now()
		_, err = w.Restart(t.Context(), "shop", "bob")
		require.Equal(t, errs.Conflict, errs.KindOf(err), "%v", err)
		require.Zero(t, time.Since(begin))
		require.NoError(t, <-destroyed)
	})
}

// TestAShortageAtTheStart: a restored sandbox is started again while it lasts, with a
// bound; what a passing shortage is not, and a sandbox that is new, is failed at once.
func TestAShortageAtTheStart(t *testing.T) {
	for _, tt := range []struct {
		exec   string
		lack   int
		fresh  bool
		status memdb.SandboxStatus
		starts int
	}{
		{"scarce", 4, false, memdb.SandboxRunning, 5},
		{"scarce", 100, false, memdb.SandboxFailed, 8},
		{"scarce", 1, true, memdb.SandboxFailed, 1},
		{"absent", 0, false, memdb.SandboxFailed, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine()
			var events []string
			if !tt.fresh {
				first, stop := m.start(t, closedChan(), &events)
				_, _ = first.Create(t.Context(), programs("shop", tt.exec), sandbox.WaitRunning)
				stop()
			}
			m.lack = tt.lack
			manager, stop := m.start(t, closedChan(), &events)
			defer stop()
			if tt.fresh {
				_, err := manager.Create(t.Context(), programs("shop", tt.exec), sandbox.WaitRunning)
				require.ErrorContains(t, err, "temporarily unavailable")
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			info, err := manager.Info("shop")
			require.NoError(t, err)
			require.Equal(t, tt.status, info.Sandbox.Status, "%+v", tt)
			require.Equal(t, tt.starts-1, info.Processes[1].Restarts, "%+v", tt)
		})
	}
}
