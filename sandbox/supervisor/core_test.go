package supervisor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

func spec(max int, restarts ...supervisor.Restart) supervisor.Spec {
	s := supervisor.Spec{
		Strategy:  supervisor.OneForOne,
		Intensity: supervisor.Intensity{MaxRestarts: max, Period: 5 * time.Second},
	}
	for i, r := range restarts {
		s.Children = append(s.Children, supervisor.ChildSpec{
			ID: string(rune('a' + i)), Restart: r, Shutdown: time.Duration(i) * time.Second,
		})
	}
	return s
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// running feeds a core until its first start is complete.
func running(t *testing.T, s supervisor.Spec) *supervisor.Core {
	c := supervisor.NewCore(s)
	require.Equal(t, []supervisor.Output{supervisor.Start{Child: 0}}, c.Step(epoch, supervisor.Begin{}))
	for i := range s.Children {
		want := supervisor.Output(supervisor.Running{})
		if i+1 < len(s.Children) {
			want = supervisor.Start{Child: i + 1}
		}
		require.Equal(t, []supervisor.Output{want}, c.Step(epoch, supervisor.Started{Child: i}))
	}
	return c
}

// The table of OTP's supervisor(3): which kind of child is restarted after
// which end.
func TestRestartTypes(t *testing.T) {
	for _, tt := range []struct {
		restart   supervisor.Restart
		normal    bool
		restarted bool
	}{
		{supervisor.Permanent, true, true}, {supervisor.Permanent, false, true},
		{supervisor.Transient, true, false}, {supervisor.Transient, false, true},
		{supervisor.Temporary, true, false}, {supervisor.Temporary, false, false},
	} {
		c := running(t, spec(3, tt.restart, supervisor.Permanent))
		want := []supervisor.Output{supervisor.Leave{Child: 0}}
		if tt.restarted {
			want = []supervisor.Output{supervisor.Start{Child: 0, Restart: true}}
		}
		require.Equal(t, want, c.Step(epoch, supervisor.Exited{Child: 0, Normal: tt.normal}), tt)
	}
}

// "If more than MaxR restarts occur in the last MaxT seconds, the supervisor
// terminates all the child processes and then itself."
func TestIntensity(t *testing.T) {
	for _, tt := range []struct {
		name    string
		max     int
		at      []time.Duration
		givesUp bool // at the last one
	}{
		{"none tolerated", 0, []time.Duration{0}, true},
		{"as many as allowed", 2, []time.Duration{0, 1}, false},
		{"one more", 2, []time.Duration{0, 1, 2}, true},
		{"a whole period back still counts", 1, []time.Duration{0, 5 * time.Second}, true},
		{"longer back does not", 1, []time.Duration{0, 5*time.Second + 1}, false},
		{"the window slides", 2, []time.Duration{0, 4 * time.Second, 6 * time.Second, 8 * time.Second}, true},
	} {
		c := running(t, spec(tt.max, supervisor.Permanent, supervisor.Permanent))
		for i, at := range tt.at {
			out := c.Step(epoch.Add(at), supervisor.Exited{Child: 0, Why: "exit code 1"})
			if i < len(tt.at)-1 || !tt.givesUp {
				require.Equal(t, []supervisor.Output{supervisor.Start{Child: 0, Restart: true}}, out, tt.name)
				require.Empty(t, c.Step(epoch.Add(at), supervisor.Started{Child: 0}))
				continue
			}
			require.Len(t, out, 2, tt.name)
			var gaveUp *supervisor.IntensityError
			require.ErrorAs(t, out[0].(supervisor.GiveUp).Err, &gaveUp)
			require.Equal(t, tt.max+1, gaveUp.Restarts)
			require.ErrorContains(t, gaveUp, `the last was of child "a": exit code 1`)
			require.Equal(t, supervisor.Stop{Child: 1, Grace: time.Second}, out[1])
			require.Equal(t, []supervisor.Output{supervisor.Ended{Err: gaveUp}}, c.Step(epoch, supervisor.Exited{Child: 1}))
		}
	}
}

func TestFirstStartThatFailsStopsInReverse(t *testing.T) {
	c := supervisor.NewCore(spec(3, supervisor.Permanent, supervisor.Temporary, supervisor.Permanent))
	c.Step(epoch, supervisor.Begin{})
	c.Step(epoch, supervisor.Started{Child: 0})
	c.Step(epoch, supervisor.Started{Child: 1})
	failure := &supervisor.StartError{Child: "c", Err: errors.New("no such file")}
	require.Equal(t, []supervisor.Output{
		supervisor.GiveUp{Err: failure}, supervisor.Stop{Child: 1, Grace: time.Second},
	}, c.Step(epoch, supervisor.StartFailed{Child: 2, Err: failure.Err}))
	require.Equal(t, []supervisor.Output{supervisor.Stop{Child: 0}}, c.Step(epoch, supervisor.Exited{Child: 1}))
	require.Equal(t, []supervisor.Output{supervisor.Ended{Err: failure}}, c.Step(epoch, supervisor.Exited{Child: 0}))
	require.Nil(t, c.Step(epoch, supervisor.Shutdown{}))
}

func TestRestartThatFailsCountsAndIsTriedAgain(t *testing.T) {
	c := running(t, spec(2, supervisor.Permanent))
	again := []supervisor.Output{supervisor.Start{Child: 0, Restart: true}}
	failed := supervisor.StartFailed{Child: 0, Err: errors.New("no")}
	require.Equal(t, again, c.Step(epoch, supervisor.Exited{Child: 0}))
	require.Equal(t, again, c.Step(epoch, failed))
	out := c.Step(epoch, failed)
	require.Len(t, out, 2)
	require.IsType(t, supervisor.GiveUp{}, out[0])
	require.IsType(t, supervisor.Ended{}, out[1])
}

func TestExitsDuringTheFirstStartWait(t *testing.T) {
	c := supervisor.NewCore(spec(3, supervisor.Permanent, supervisor.Permanent))
	c.Step(epoch, supervisor.Begin{})
	c.Step(epoch, supervisor.Started{Child: 0})
	require.Empty(t, c.Step(epoch, supervisor.Exited{Child: 0}))
	require.Equal(t, []supervisor.Output{supervisor.Running{}, supervisor.Start{Child: 0, Restart: true}},
		c.Step(epoch, supervisor.Started{Child: 1}))
}

func TestShutdownDuringAStartAwaitsIt(t *testing.T) {
	c := supervisor.NewCore(spec(3, supervisor.Permanent))
	c.Step(epoch, supervisor.Begin{})
	require.Empty(t, c.Step(epoch, supervisor.Shutdown{}))
	require.Equal(t, []supervisor.Output{supervisor.Stop{Child: 0}}, c.Step(epoch, supervisor.Started{Child: 0}))
	require.Equal(t, []supervisor.Output{supervisor.Ended{}}, c.Step(epoch, supervisor.Exited{Child: 0}))
}

func TestValidate(t *testing.T) {
	err := supervisor.Spec{
		Strategy: "x", Intensity: supervisor.Intensity{MaxRestarts: -1},
		Children: []supervisor.ChildSpec{{ID: "a", Restart: "x"}, {ID: "a", Restart: supervisor.Permanent, Shutdown: -1}, {}},
	}.Validate()
	for _, want := range []string{`strategy "x"`, "-1", "max_seconds", `restart "x"`, "used twice", "negative", "id is empty"} {
		require.ErrorContains(t, err, want)
	}
	_, err = supervisor.New(supervisor.Spec{}, supervisor.Options{})
	require.Error(t, err)
	require.NoError(t, spec(0, supervisor.Permanent).Validate())
}

// Whatever happens: one command at a time, starts in order, never a start of
// what runs, stops in reverse, nothing left at the end.
func TestInvariants(t *testing.T) {
	kinds := []supervisor.Restart{supervisor.Permanent, supervisor.Transient, supervisor.Temporary}
	rapid.Check(t, func(t *rapid.T) {
		s := spec(rapid.IntRange(0, 3).Draw(t, "max"), rapid.SliceOfN(rapid.SampledFrom(kinds), 0, 4).Draw(t, "children")...)
		c := supervisor.NewCore(s)
		up := make([]bool, len(s.Children))
		now, busy, ended, lastStop := epoch, -1, false, len(up)
		take := func(outs []supervisor.Output) {
			for _, out := range outs {
				require.False(t, ended, "nothing follows the end")
				switch out := out.(type) {
				case supervisor.Start:
					require.False(t, up[out.Child])
					require.Equal(t, -1, busy)
					busy = out.Child
				case supervisor.Stop:
					require.True(t, up[out.Child])
					require.Less(t, out.Child, lastStop)
					lastStop = out.Child
				case supervisor.Ended:
					require.NotContains(t, up, true)
					ended = true
				}
			}
		}
		take(c.Step(now, supervisor.Begin{}))
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			child := rapid.IntRange(-1, 4).Draw(t, "child")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				take(c.Step(now, supervisor.Shutdown{}))
			case 1:
				if busy >= 0 {
					i := busy
					busy = -1
					take(c.Step(now, supervisor.StartFailed{Child: i, Err: errors.New("no")}))
				}
			case 2, 3, 4, 5:
				if busy >= 0 {
					i := busy
					busy, up[i] = -1, true
					take(c.Step(now, supervisor.Started{Child: i}))
				}
			default:
				if child >= 0 && child < len(up) && up[child] {
					up[child] = false
					take(c.Step(now, supervisor.Exited{Child: child, Normal: child%2 == 0}))
				} else {
					require.Empty(t, c.Step(now, supervisor.Exited{Child: child}))
				}
			}
		}
		take(c.Step(now, supervisor.Shutdown{}))
		for i := len(up) - 1; i >= 0 || busy >= 0; i-- {
			if busy >= 0 {
				i = busy
				busy, up[i] = -1, true
				take(c.Step(now, supervisor.Started{Child: i}))
				i = len(up)
				continue
			}
			if up[i] {
				up[i] = false
				take(c.Step(now, supervisor.Exited{Child: i}))
			}
		}
		require.True(t, ended)
	})
}
