package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// rows is a store in a map.
type rows struct {
	mu        sync.Mutex
	sandboxes map[string]memdb.Sandbox
	processes map[string]memdb.Process
	refuse    error
}

func (r *rows) PutSandbox(row memdb.Sandbox) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandboxes[row.ID] = row
	return r.refuse
}
func (r *rows) DeleteSandbox(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sandboxes, id)
	return nil
}
func (r *rows) PutProcess(row memdb.Process) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.processes[row.PID] = row
	return nil
}
func (r *rows) ReplaceProcess(previous string, row memdb.Process) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.processes, previous)
	r.processes[row.PID] = row
	return nil
}
func (r *rows) DeleteProcess(pid string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.processes, pid)
	return nil
}

// fakeRuntime runs no programs: "live" runs until it is killed, "short" for a
// second and exits with 1, "once" for a second and exits with 0, "absent" does
// not exist, "slow" never finishes to start, "stuck" cannot be killed.
// "scarce" finds no room so many times and is then "live".
type fakeRuntime struct {
	mu    sync.Mutex // several sandboxes may start at once
	tasks []sandbox.Task
	lack  int
}

// begin counts a start, and says whether there is room for one that looks.
func (f *fakeRuntime) begin(task sandbox.Task) (n int, room bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tasks = append(f.tasks, task)
	f.lack--
	return len(f.tasks), f.lack < 0
}

func (f *fakeRuntime) Start(ctx context.Context, task sandbox.Task) (sandbox.Process, error) {
	n, room := f.begin(task)
	p := &fakeProcess{
		n: n, done: make(chan struct{}), end: make(chan memdb.Exit, 4),
		killed: memdb.Exit{Cause: memdb.CauseKilled, Code: 137, Signal: "SIGKILL"},
	}
	switch task.Exec[0] {
	case "scarce":
		if !room {
			return nil, errs.New(errs.Internal, "the guardian could not be started: resource temporarily unavailable")
		}
	case "absent":
		return nil, errs.New(errs.BadSpec, "program %q does not exist", "absent")
	case "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case "short":
		time.AfterFunc(time.Second, func() { p.end <- memdb.Exit{Cause: memdb.CauseExited, Code: 1} })
	case "stuck":
		p.killed = memdb.Exit{Cause: memdb.CauseStuck, Code: 137, Signal: "SIGKILL", Detail: "process 7 (dd) in state D"}
	case "once":
		time.AfterFunc(time.Second, func() { p.end <- memdb.Exit{Cause: memdb.CauseExited} })
	}
	go func() {
		p.exit = <-p.end
		p.exit.At = time.Now()
		close(p.done)
	}()
	return p, nil
}

type fakeProcess struct {
	n    int
	done chan struct{}
	end  chan memdb.Exit
	exit memdb.Exit
	// killed is how it ends when it is killed.
	killed memdb.Exit
}

func (p *fakeProcess) OSPID() int                  { return 1000 + p.n }
func (p *fakeProcess) Isolation() memdb.Isolation  { return memdb.Isolation{Level: "none"} }
func (p *fakeProcess) Signal(syscall.Signal) error { return nil }
func (p *fakeProcess) Stdin() sandbox.Stdin        { return nil }
func (p *fakeProcess) Usage() (sandbox.Usage, error) {
	return sandbox.Usage{Processes: 1, Threads: p.n}, nil
}
func (p *fakeProcess) Done() <-chan struct{} { return p.done }
func (p *fakeProcess) Exit() memdb.Exit      { return p.exit }
func (p *fakeProcess) Stop(grace time.Duration) {
	time.Sleep(min(grace, time.Second))
	_ = p.Kill(context.Background())
}
func (p *fakeProcess) Kill(context.Context) error {
	select {
	case p.end <- p.killed:
	default:
	}
	<-p.done
	return nil
}

// world is a running manager in a bubble.
type world struct {
	*sandbox.Manager
	store  *rows
	names  *board
	events []string
}

func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{store: &rows{sandboxes: map[string]memdb.Sandbox{}, processes: map[string]memdb.Process{}}, names: newBoard()}
		var mu sync.Mutex
		w.Manager = sandbox.NewManager(sandbox.Config{
			Node: "n1", Incarnation: func() uint64 { return 35 }, Runtime: &fakeRuntime{}, Store: w.store, Names: w.names,
			MaxSandboxes: 3, MaxProcesses: 20,
			OnEvent: func(e sandbox.Event) {
				mu.Lock()
				defer mu.Unlock()
				w.events = append(w.events, fmt.Sprintf("%s %s: %s", e.Type, e.Subject, e.Why))
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		_, err := w.Create(ctx, programs("early", "live"), sandbox.WaitPlaced)
		require.Equal(t, errs.NotReady, errs.KindOf(err))
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		defer func() {
			cancel()
			require.NoError(t, <-done)
		}()
		test(t, w)
	})
}

func programs(id string, execs ...string) sandbox.Spec {
	s := sandbox.Spec{ID: id}
	for i, exec := range execs {
		s.Children = append(s.Children, sandbox.Child{ID: fmt.Sprint("c", i), Run: &sandbox.Run{Exec: []string{exec}}})
	}
	return s
}

// What the system does not let end is told to who asked for the end, and holds
// up nobody.
func TestAStuckProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), programs("shop", "stuck"), sandbox.WaitRunning)
		require.NoError(t, err)
		err = w.Kill(t.Context(), "n1.z.2", sandbox.ReasonKill, false, "ann")
		require.ErrorContains(t, err, "process n1.z.2 was killed, and the system does not let it end")
		require.Equal(t, "process 7 (dd) in state D", errs.From(err).Why)
		synctest.Wait()
		row, err := w.Process("n1.z.3")
		require.NoError(t, err, "its supervisor has gone on")
		require.Equal(t, memdb.CauseStuck, row.Exit.Cause)
		require.ErrorContains(t, w.Destroy(t.Context(), "shop", "ann"), `process n1.z.3 of sandbox "shop" was killed, and the system does not let it end`)
		require.Empty(t, w.store.sandboxes)
		require.Contains(t, w.events[len(w.events)-2], "ProcessExited n1.z.3: stuck")
	})
}

func TestLifeOfASandbox(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		row, err := w.Create(t.Context(), programs("shop", "live", "live"), sandbox.WaitRunning)
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxRunning, row.Status)
		require.Len(t, w.Processes(), 3)
		info, err := w.Info("shop")
		require.NoError(t, err)
		pid := info.Processes[1].PID
		require.Regexp(t, `^n1\.z\.\d$`, pid)
		require.NoError(t, w.Kill(t.Context(), pid, sandbox.ReasonKill, false, "ann"))
		synctest.Wait()
		_, err = w.Process(pid)
		require.Equal(t, errs.NotFound, errs.KindOf(err))
		require.Contains(t, errs.From(err).Why, "ended by SIGKILL, kill by ann; the slot now runs n1.z.4")
		require.Error(t, w.Kill(t.Context(), pid, sandbox.ReasonKill, false, "ann"))
		now, err := w.Process("n1.z.4")
		require.NoError(t, err)
		require.Equal(t, 1, now.Restarts)
		require.Equal(t, "kill by ann", now.Exit.By)
		old, current, err := w.Logs(pid)
		require.NoError(t, err, "an old pid still has its log")
		require.Equal(t, "n1.z.4", current)
		entries, _, _, _ := old.Read(t.Context(), 0, 0, false)
		require.Len(t, entries, 3)
		begin := time.Now()
		require.NoError(t, w.Kill(t.Context(), "n1.z.4", sandbox.ReasonShutdown, false, "ann"))
		require.Equal(t, time.Second, time.Since(begin))
		require.NoError(t, w.Destroy(t.Context(), "shop", "ann"))
		require.Empty(t, w.store.sandboxes)
		require.Empty(t, w.store.processes)
		require.Equal(t, errs.NotFound, errs.KindOf(w.Destroy(t.Context(), "shop", "ann")))
		_, _, err = w.Logs(pid)
		require.NoError(t, err, "who follows a log sees its end")
		require.True(t, old.Ended(100))
		for _, gone := range []error{w.Kill(t.Context(), current, sandbox.ReasonKill, false, "ann"), func() error { _, err := w.Process(current); return err }()} {
			require.ErrorContains(t, gone, `has ended with its sandbox "shop"`)
		}
		for i := range 20 {
			_, err := w.Create(t.Context(), programs(fmt.Sprint("s", i), "live"), sandbox.WaitRunning)
			require.NoError(t, err)
			require.NoError(t, w.Destroy(t.Context(), fmt.Sprint("s", i), "ann"))
		}
		_, _, err = w.Logs(pid)
		require.Equal(t, errs.NotFound, errs.KindOf(err), "but not for ever")
		require.Contains(t, w.events, "ProcessRestarted n1.z.4: "+pid+" ended: ended by SIGKILL, kill by ann")
		require.Contains(t, w.events, "SandboxDestroyed shop: destroyed by ann")
	})
}

func TestProgramThatDoesNotExist(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), programs("shop", "live", "absent"), sandbox.WaitRunning)
		require.Equal(t, errs.BadSpec, errs.KindOf(err))
		require.ErrorContains(t, err, `program "absent" does not exist`)
		require.Equal(t, "/children/1/run", errs.From(err).Faults[0].Pointer)
		require.False(t, errs.From(err).Definite(), "the failed sandbox is there")
		info, err := w.Info("shop")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxFailed, info.Sandbox.Status)
		require.Contains(t, info.Sandbox.Why, `child "c1"`)
		require.Equal(t, memdb.ProcessFailed, info.Processes[0].State)
		require.NoError(t, w.Destroy(t.Context(), "shop", "ann"))
	})
}

func TestIntensityExceeded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), programs("shop", "short"), sandbox.WaitRunning)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		info, err := w.Info("shop")
		require.NoError(t, err)
		require.Equal(t, memdb.SandboxFailed, info.Sandbox.Status)
		require.Contains(t, info.Sandbox.Why, "4 restarts within 5s are more than the 3 allowed")
		require.Len(t, info.History, 4)
		require.Equal(t, errs.NotFound, errs.KindOf(w.Kill(t.Context(), info.Processes[1].PID, sandbox.ReasonKill, false, "ann")))
	})
}

func TestRefusals(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		create := func(s sandbox.Spec, wait sandbox.Wait) errs.Kind {
			_, err := w.Create(t.Context(), s, wait)
			return errs.KindOf(err)
		}
		require.Equal(t, errs.BadParameter, create(programs("a", "live"), "soon"))
		require.Equal(t, errs.BadSpec, create(sandbox.Spec{}, sandbox.WaitRunning))
		elsewhere := programs("a", "live")
		elsewhere.Placement = &sandbox.Placement{Node: "n2"}
		require.Equal(t, errs.Conflict, create(elsewhere, sandbox.WaitRunning))
		require.Empty(t, create(programs("a", "live"), sandbox.WaitPlaced))
		require.Equal(t, errs.AlreadyExists, create(programs("a", "live"), sandbox.WaitPlaced))
		require.Equal(t, errs.Conflict, create(programs("b", slices.Repeat([]string{"live"}, 20)...), sandbox.WaitPlaced))
		require.Empty(t, create(programs("b", "live"), sandbox.WaitRunning))
		require.Empty(t, create(programs("c", "live"), sandbox.WaitRunning))
		require.Equal(t, errs.Conflict, create(programs("d", "live"), sandbox.WaitRunning))
		info, err := w.Info("a")
		require.NoError(t, err)
		root := info.Processes[0].PID
		require.Equal(t, errs.Conflict, errs.KindOf(w.Kill(t.Context(), root, sandbox.ReasonKill, false, "ann")))
		_, err = w.Process(root)
		require.NoError(t, err)
		require.Equal(t, errs.NotFound, errs.KindOf(w.Kill(t.Context(), "n1.z.zz", sandbox.ReasonKill, false, "ann")))
		require.Equal(t, errs.BadParameter, errs.KindOf(w.Kill(t.Context(), root, "whim", false, "ann")))
		synctest.Wait() // until a runs, which nobody has waited for
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.Equal(t, errs.Timeout, errs.KindOf(w.Destroy(ctx, "a", "ann")), "it takes its grace time")
		require.NoError(t, w.Destroy(t.Context(), "a", "ann"))
		w.store.refuse = errors.New("full")
		require.Equal(t, errs.Internal, create(programs("e", "live"), sandbox.WaitRunning))
		w.store.refuse = nil
	})
}

// TestStoppedWhileItStarts is no failure, and no success.
func TestStoppedWhileItStarts(t *testing.T) {
	var atEnd error
	inBubble(t, func(t *testing.T, w *world) {
		create := func(id string) chan error {
			created := make(chan error, 1)
			go func() {
				_, err := w.Create(context.Background(), programs(id, "slow"), sandbox.WaitRunning)
				created <- err
			}()
			synctest.Wait()
			return created
		}
		destroyed := create("shop")
		require.NoError(t, w.Destroy(t.Context(), "shop", "ann"))
		require.ErrorContains(t, <-destroyed, "destroyed while it started")
		require.Contains(t, w.events, "ProcessExited n1.z.2: ended by SIGKILL, its supervisor, while it started")
		stopped := create("late")
		t.Cleanup(func() { atEnd = <-stopped })
	})
	require.Equal(t, errs.NotReady, errs.KindOf(atEnd), "%v", atEnd)
}

func TestEndOfRunStopsAll(t *testing.T) {
	var w *world
	inBubble(t, func(t *testing.T, running *world) {
		w = running
		s := programs("shop", "live", "once")
		s.Children[1].Restart = "transient"
		_, err := w.Create(t.Context(), s, sandbox.WaitRunning)
		require.NoError(t, err)
		time.Sleep(time.Minute)
	})
	require.Equal(t, memdb.SandboxStopped, w.store.sandboxes["shop"].Status)
	for _, p := range w.store.processes {
		require.NotEqual(t, memdb.ProcessRunning, p.State, "%+v", p)
	}
}
