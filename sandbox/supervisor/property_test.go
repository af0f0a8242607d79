package supervisor_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// world is what a supervisor's outputs have made: the model that the invariants
// are checked on.
type world struct {
	*rapid.T
	core   *supervisor.Core
	spec   supervisor.Spec
	now    time.Time
	up     map[string]bool   // they run
	order  []string          // the places, in the order of their first start
	busy   supervisor.Output // the Start or Stop under way
	asked  map[uint64]bool   // calls without an answer
	halts  []string          // stops since it began to end
	ending bool              // it gave up or was asked to
	ended  bool
	calls  uint64
}

// Whatever happens, with any strategy: one command at a time, never a start of
// what runs nor a stop of what does not, every call answered once, no more
// restarts than the intensity tolerates, at the end stops in reverse and nothing
// left.
func TestInvariants(t *testing.T) {
	ids := []string{"a", "b", "c", "d", "e"}
	kinds := []supervisor.Restart{supervisor.Permanent, supervisor.Transient, supervisor.Temporary}
	reasons := []supervisor.Reason{supervisor.ReasonNormal, supervisor.ReasonShutdown, supervisor.ReasonAbnormal}
	rapid.Check(t, func(t *rapid.T) {
		w := &world{T: t, now: epoch, up: make(map[string]bool), asked: make(map[uint64]bool)}
		w.spec = spec(rapid.IntRange(0, 4).Draw(t, "max"), rapid.SliceOfN(rapid.SampledFrom(kinds), 0, 4).Draw(t, "children")...)
		w.spec.Strategy = rapid.SampledFrom([]supervisor.Strategy{ofo, ofa, rfo}).Draw(t, "strategy")
		w.core = supervisor.NewCore(w.spec)
		w.step(supervisor.Begin{})
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			id := rapid.SampledFrom(ids).Draw(t, "id")
			switch what := rapid.IntRange(0, 99).Draw(t, "what"); {
			case what < 2:
				w.ending = true
				w.step(supervisor.Shutdown{})
			case what < 45:
				w.answer(what < 8)
			case what < 70:
				w.exit(id, rapid.SampledFrom(reasons).Draw(t, "reason"))
			case what < 80:
				w.call(supervisor.StartChild{Spec: supervisor.ChildSpec{ID: id, Restart: rapid.SampledFrom(kinds).Draw(t, "kind")}})
			case what < 85:
				w.call(supervisor.TerminateChild{Child: id})
			case what < 90:
				w.call(supervisor.RestartChild{Child: id})
			case what < 95:
				w.call(supervisor.DeleteChild{Child: id})
			default:
				w.call(supervisor.WhichChildren{})
			}
		}
		w.ending = true
		w.step(supervisor.Shutdown{})
		for !w.ended {
			require.NotNil(t, w.busy, "it neither ends nor does anything")
			w.answer(false)
		}
	})
}

func (w *world) step(in supervisor.Input) {
	for _, out := range w.core.Step(w.now, in) {
		require.False(w, w.ended, "nothing follows the end")
		w.take(out)
	}
	recent := slices.DeleteFunc(slices.Clone(w.core.History()), func(r supervisor.RestartRecord) bool {
		return w.now.Sub(r.At) > w.spec.Intensity.Period
	})
	require.LessOrEqual(w, len(recent), w.spec.Intensity.MaxRestarts)
}

func (w *world) take(out supervisor.Output) {
	switch out := out.(type) {
	case supervisor.Start:
		require.Nil(w, w.busy)
		require.False(w, w.up[out.Child])
		require.False(w, w.ending, "no start once it ends")
		w.busy = out
		if !out.Restart { // a new place, behind the others
			w.order = slices.DeleteFunc(w.order, func(id string) bool { return id == out.Child })
			w.order = append(w.order, out.Child)
		}
	case supervisor.Stop:
		require.Nil(w, w.busy)
		require.True(w, w.up[out.Child])
		w.busy = out
		if w.ending {
			w.halts = append(w.halts, out.Child)
		}
	case supervisor.GiveUp:
		w.ending = true
	case supervisor.Reply:
		require.True(w, w.asked[out.Number])
		delete(w.asked, out.Number)
		w.reply(out)
	case supervisor.Ended:
		for id, up := range w.up {
			require.False(w, up, id)
		}
		w.ended = true
		w.reversed()
	}
}

// reply checks a list against what runs.
func (w *world) reply(out supervisor.Reply) {
	if out.Child != "" && out.Err == nil {
		require.True(w, w.up[out.Child], "the answer says that it runs")
	}
	if out.Children == nil {
		return
	}
	last := -1
	for _, info := range out.Children {
		i := slices.Index(w.order, info.ID)
		require.Greater(w, i, last, "listed are %v, started were %v", out.Children, w.order)
		last = i
		if w.up[info.ID] {
			require.Equal(w, supervisor.StateRunning, info.State)
		}
	}
	for id, up := range w.up {
		require.True(w, !up || slices.ContainsFunc(out.Children, func(c supervisor.ChildInfo) bool { return c.ID == id }), id)
	}
}

// reversed checks the stops of the end are from the last place to the first.
func (w *world) reversed() {
	last := len(w.order) // one past the end
	for _, id := range w.halts {
		i := slices.Index(w.order, id)
		require.Less(w, i, last, "%v are stopped, started were %v", w.halts, w.order)
		last = i
	}
}

// answer carries out the command under way.
func (w *world) answer(fails bool) {
	switch out := w.busy.(type) {
	case supervisor.Start:
		w.busy = nil
		if fails {
			w.step(supervisor.StartFailed{Child: out.Child, Err: errors.New("no")})
			return
		}
		w.up[out.Child] = true
		w.step(supervisor.Started{Child: out.Child})
	case supervisor.Stop:
		w.busy = nil
		w.up[out.Child] = false
		w.step(supervisor.Exited{Child: out.Child, Reason: supervisor.ReasonShutdown})
	}
}

func (w *world) exit(id string, reason supervisor.Reason) {
	if out, stopping := w.busy.(supervisor.Stop); !w.up[id] || stopping && out.Child == id {
		return
	}
	w.up[id] = false
	w.step(supervisor.Exited{Child: id, Reason: reason})
}

func (w *world) call(r supervisor.Request) {
	if w.ended {
		return
	}
	w.calls++
	w.asked[w.calls] = true
	w.step(supervisor.Call{Number: w.calls, Request: r})
}
