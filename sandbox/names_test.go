package sandbox_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// board holds names as the cluster does: what is asked about one name is done in the
// order in which it was asked, also when the asker has gone.
type board struct {
	mu   sync.Mutex
	held map[string]string // holder by name
	whys []string          // of what was given up
	last chan struct{}     // closed when what was asked last is done
	slow time.Duration     // each takes
}

func newBoard() *board {
	last := make(chan struct{})
	close(last)
	return &board{held: map[string]string{}, last: last}
}

func (b *board) do(ctx context.Context, f func() error) error {
	b.mu.Lock()
	before, done, failed := b.last, make(chan struct{}), make(chan error, 1)
	b.last = done
	slow := b.slow
	b.mu.Unlock()
	go func() {
		defer close(done)
		<-before
		time.Sleep(slow)
		b.mu.Lock()
		defer b.mu.Unlock()
		failed <- f()
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *board) Claim(ctx context.Context, name, box, child string) error {
	return b.do(ctx, func() error {
		holder := box + ":" + child
		if other := b.held[name]; other != "" && other != holder {
			return errs.New(errs.NameTaken, "the name %q is held by %s", name, other)
		}
		b.held[name] = holder
		return nil
	})
}

func (b *board) Release(ctx context.Context, name, why string) error {
	return b.do(ctx, func() error {
		if b.held[name] == "" {
			return errs.New(errs.NotFound, "nobody holds it")
		}
		delete(b.held, name)
		b.whys = append(b.whys, why)
		return nil
	})
}

func (b *board) slowly(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slow = d
}

// after returns who holds which names when all is over.
func (b *board) after(d time.Duration) map[string]string {
	time.Sleep(d)
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	held := map[string]string{}
	for name, holder := range b.held {
		held[name] = holder
	}
	return held
}

func named(id, exec, restart, name string) sandbox.Child {
	return sandbox.Child{ID: id, Run: &sandbox.Run{Exec: []string{exec}}, Restart: restart, Name: name}
}

// TestAStartThatIsStoppedLeavesNoName: also if the claim succeeds later; and the next
// life gets it.
func TestAStartThatIsStoppedLeavesNoName(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), sandbox.Spec{ID: "shop", Children: []sandbox.Child{named("c0", "live", "", "shop/db")}}, sandbox.WaitRunning)
		require.NoError(t, err)
		w.names.slowly(5 * time.Second) // a member is suspected
		failed := make(chan error, 1)
		go func() {
			below := []sandbox.Child{named("x", "live", "", "shop/cache")}
			_, err := w.StartChild(t.Context(), w.pid(t, "shop", ""), sandbox.Child{ID: "n", Children: below})
			failed <- err
		}()
		time.Sleep(time.Second)
		_, err = w.Restart(t.Context(), "shop", "ann")
		require.NoError(t, err)
		require.ErrorContains(t, <-failed, "its supervisor was stopped while it started")
		require.Equal(t, map[string]string{"shop/db": "shop:c0"}, w.names.after(time.Minute))
		row, err := w.StartChild(t.Context(), w.pid(t, "shop", ""), named("x", "live", "", "shop/cache"))
		require.NoError(t, err)
		require.Equal(t, "shop/cache", row.Name)

		_, err = w.Create(t.Context(), sandbox.Spec{ID: "late", Children: []sandbox.Child{named("c0", "live", "", "late/db")}}, sandbox.WaitPlaced)
		require.NoError(t, err)
		_, err = w.Restart(t.Context(), "late", "ann") // while its first life asks for the name
		require.NoError(t, err)
		require.Equal(t, "late:c0", w.names.after(time.Minute)["late/db"])
	})
}

// TestNamesOfTemporaryChildren are free when they have ended, and a child that takes
// the place of one has its name, and keeps it.
func TestNamesOfTemporaryChildren(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		spec := sandbox.Spec{ID: "jobs", Children: []sandbox.Child{named("s", "once", "temporary", "jobs/s"), named("c", "live", "", "")}}
		_, err := w.Create(t.Context(), spec, sandbox.WaitRunning)
		require.NoError(t, err)
		root := w.pid(t, "jobs", "")
		_, err = w.StartChild(t.Context(), root, named("d", "once", "temporary", "jobs/d"))
		require.NoError(t, err)
		require.Equal(t, map[string]string{"jobs/s": "jobs:s", "jobs/d": "jobs:d"}, w.names.after(0))
		require.Empty(t, w.names.after(5*time.Second))
		require.Equal(t, "its child has ended, and was temporary", w.names.whys[0])

		w.names.slowly(time.Second)
		for range 3 { // while the one before gives it up
			_, err = w.StartChild(t.Context(), root, named("d", "once", "temporary", "jobs/d"))
			require.NoError(t, err)
			require.Equal(t, "jobs:d", w.names.after(0)["jobs/d"])
			time.Sleep(1100 * time.Millisecond)
		}
		for range 2 { // in the place of one of the spec's
			_, err = w.StartChild(t.Context(), root, named("s", "live", "", "jobs/s"))
			require.NoError(t, err)
			require.Equal(t, map[string]string{"jobs/s": "jobs:s"}, w.names.after(time.Minute))
			require.NoError(t, w.TerminateChild(t.Context(), root, "s", "ann"))
			require.NoError(t, w.DeleteChild(t.Context(), root, "s"))
			require.Empty(t, w.names.after(time.Minute))
			require.Equal(t, "its child is no more", w.names.whys[len(w.names.whys)-1])
		}
	})
}

// TestAChildOfTheSpecComesBack: another one had its id meanwhile; it is found, and its
// log goes on.
func TestAChildOfTheSpecComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		below := []sandbox.Child{named("s", "once", "temporary", ""), {ID: "t", Restart: "temporary", Children: []sandbox.Child{named("u", "live", "", "")}}}
		_, err := w.Create(t.Context(), sandbox.Spec{ID: "shop", Children: []sandbox.Child{{ID: "w", Children: below}}}, sandbox.WaitRunning)
		require.NoError(t, err)
		first, inner := w.pid(t, "shop", "w/s"), w.pid(t, "shop", "w")
		time.Sleep(2 * time.Second)
		require.NoError(t, w.TerminateChild(t.Context(), inner, "t", "ann"))
		for _, id := range []string{"s", "t"} {
			_, err = w.StartChild(t.Context(), inner, named(id, "live", "", ""))
			require.NoError(t, err)
		}
		require.Len(t, w.store.processes, 4)
		_, err = w.Restart(t.Context(), "shop", "ann")
		require.NoError(t, err)
		require.Equal(t, []string{" running 1", "w running 1", "w/s running 1", "w/t running 1", "w/t/u running 1"}, w.paths(t, "shop"))
		require.Len(t, w.store.processes, 5)
		for _, path := range []string{"w/s", "w/t/u"} {
			pid := w.pid(t, "shop", path)
			row, err := w.Process(pid)
			require.NoError(t, err)
			require.Equal(t, memdb.ProcessRunning, row.State)
			log, current, err := w.Logs(pid)
			require.NoError(t, err)
			require.Equal(t, pid, current)
			require.False(t, log.Ended(100), "it goes on")
		}
		_, current, err := w.Logs(first)
		require.NoError(t, err)
		require.Equal(t, w.pid(t, "shop", "w/s"), current)
		for range 20 { // until it is forgotten what was dropped
			_, err = w.StartChild(t.Context(), w.pid(t, "shop", ""), named("d", "once", "temporary", ""))
			require.NoError(t, err)
			time.Sleep(2 * time.Second)
		}
		_, _, err = w.Logs(w.pid(t, "shop", "w/t/u"))
		require.NoError(t, err)
	})
}

// TestAChildThatCannotBeStartedIsNoGhost: also if who wanted it has gone.
func TestAChildThatCannotBeStartedIsNoGhost(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), programs("shop", "live"), sandbox.WaitRunning)
		require.NoError(t, err)
		w.names.slowly(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = w.StartChild(ctx, w.pid(t, "shop", ""), named("x", "absent", "", "shop/x"))
		require.Equal(t, errs.Timeout, errs.KindOf(err), "%v", err)
		require.Empty(t, w.names.after(time.Minute))
		require.Equal(t, []string{" running 0", "c0 running 0"}, w.paths(t, "shop"))
		require.Len(t, w.store.processes, 2)
		info, err := w.Info("shop")
		require.NoError(t, err)
		require.Equal(t, "x", info.History[0].Child, "it is told how it ended")
	})
}
