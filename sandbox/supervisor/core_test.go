package supervisor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

func spec(max int, restarts ...supervisor.Restart) supervisor.Spec {
	s := supervisor.Spec{
		Strategy:  supervisor.OneForOne,
		Intensity: supervisor.Intensity{MaxRestarts: max, Period: 5 * time.Second},
	}
	for i, r := range restarts {
		s.Children = append(s.Children, supervisor.ChildSpec{
			ID: id(i), Restart: r, Shutdown: time.Duration(i) * time.Second,
		})
	}
	return s
}

func id(i int) string { return string(rune('a' + i)) }

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// running feeds a core until its first start is complete.
func running(t *testing.T, s supervisor.Spec) *supervisor.Core {
	c := supervisor.NewCore(s)
	require.Equal(t, []supervisor.Output{supervisor.Start{Child: "a"}}, c.Step(epoch, supervisor.Begin{}))
	for i := range s.Children {
		want := supervisor.Output(supervisor.Running{})
		if i+1 < len(s.Children) {
			want = supervisor.Start{Child: id(i + 1)}
		}
		require.Equal(t, []supervisor.Output{want}, c.Step(epoch, supervisor.Started{Child: id(i)}))
	}
	return c
}

// The table of OTP's supervisor(3): which kind of child is restarted after
// which end.
func TestRestartTypes(t *testing.T) {
	for _, tt := range []struct {
		restart   supervisor.Restart
		reason    supervisor.Reason
		restarted bool
	}{
		{supervisor.Permanent, supervisor.ReasonNormal, true},
		{supervisor.Permanent, supervisor.ReasonShutdown, true},
		{supervisor.Permanent, supervisor.ReasonAbnormal, true},
		{supervisor.Transient, supervisor.ReasonNormal, false},
		{supervisor.Transient, supervisor.ReasonShutdown, false},
		{supervisor.Transient, supervisor.ReasonAbnormal, true},
		{supervisor.Temporary, supervisor.ReasonNormal, false},
		{supervisor.Temporary, supervisor.ReasonShutdown, false},
		{supervisor.Temporary, supervisor.ReasonAbnormal, false},
	} {
		c := running(t, spec(3, tt.restart, supervisor.Permanent))
		want := []supervisor.Output{supervisor.Leave{Child: "a"}}
		if tt.restarted {
			want = []supervisor.Output{supervisor.Start{Child: "a", Restart: true}}
		}
		require.Equal(t, want, c.Step(epoch, supervisor.Exited{Child: "a", Reason: tt.reason}), tt)
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
			out := c.Step(epoch.Add(at), supervisor.Exited{Child: "a", Why: "exit code 1"})
			if i < len(tt.at)-1 || !tt.givesUp {
				require.Equal(t, []supervisor.Output{supervisor.Start{Child: "a", Restart: true}}, out, tt.name)
				require.Empty(t, c.Step(epoch.Add(at), supervisor.Started{Child: "a"}))
				continue
			}
			require.Len(t, out, 2, tt.name)
			var gaveUp *supervisor.IntensityError
			require.ErrorAs(t, out[0].(supervisor.GiveUp).Err, &gaveUp)
			require.Equal(t, tt.max+1, gaveUp.Restarts)
			require.ErrorContains(t, gaveUp, `the last was of child "a": exit code 1`)
			require.Equal(t, supervisor.Stop{Child: "b", Grace: time.Second}, out[1])
			require.Equal(t, []supervisor.Output{supervisor.Ended{Err: gaveUp}}, c.Step(epoch, supervisor.Exited{Child: "b"}))
		}
	}
}

func TestFirstStartThatFailsStopsInReverse(t *testing.T) {
	c := supervisor.NewCore(spec(3, supervisor.Permanent, supervisor.Temporary, supervisor.Permanent))
	c.Step(epoch, supervisor.Begin{})
	c.Step(epoch, supervisor.Started{Child: "a"})
	c.Step(epoch, supervisor.Started{Child: "b"})
	failure := &supervisor.StartError{Child: "c", Err: errors.New("no such file")}
	require.Equal(t, []supervisor.Output{
		supervisor.GiveUp{Err: failure}, supervisor.Stop{Child: "b", Grace: time.Second},
	}, c.Step(epoch, supervisor.StartFailed{Child: "c", Err: failure.Err}))
	require.Equal(t, []supervisor.Output{supervisor.Stop{Child: "a"}}, c.Step(epoch, supervisor.Exited{Child: "b"}))
	require.Equal(t, []supervisor.Output{supervisor.Ended{Err: failure}}, c.Step(epoch, supervisor.Exited{Child: "a"}))
	require.Nil(t, c.Step(epoch, supervisor.Shutdown{}))
}

func TestRestartThatFailsCountsAndIsTriedAgain(t *testing.T) {
	c := running(t, spec(2, supervisor.Permanent))
	again := []supervisor.Output{supervisor.Start{Child: "a", Restart: true}}
	failed := supervisor.StartFailed{Child: "a", Err: errors.New("no")}
	require.Equal(t, again, c.Step(epoch, supervisor.Exited{Child: "a"}))
	require.Equal(t, again, c.Step(epoch, failed))
	out := c.Step(epoch, failed)
	require.Len(t, out, 2)
	require.IsType(t, supervisor.GiveUp{}, out[0])
	require.IsType(t, supervisor.Ended{}, out[1])
}

func TestExitsDuringTheFirstStartWait(t *testing.T) {
	c := supervisor.NewCore(spec(3, supervisor.Permanent, supervisor.Permanent))
	c.Step(epoch, supervisor.Begin{})
	c.Step(epoch, supervisor.Started{Child: "a"})
	require.Empty(t, c.Step(epoch, supervisor.Exited{Child: "a"}))
	require.Equal(t, []supervisor.Output{supervisor.Running{}, supervisor.Start{Child: "a", Restart: true}},
		c.Step(epoch, supervisor.Started{Child: "b"}))
}

func TestShutdownDuringAStartAwaitsIt(t *testing.T) {
	c := supervisor.NewCore(spec(3, supervisor.Permanent))
	c.Step(epoch, supervisor.Begin{})
	require.Empty(t, c.Step(epoch, supervisor.Shutdown{}))
	require.Equal(t, []supervisor.Output{supervisor.Stop{Child: "a"}}, c.Step(epoch, supervisor.Started{Child: "a"}))
	require.Equal(t, []supervisor.Output{supervisor.Ended{}}, c.Step(epoch, supervisor.Exited{Child: "a"}))
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
