package supervisor_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

func TestHistoryOfACore(t *testing.T) {
	s := spec(supervisor.KeepRestarts*2, supervisor.Permanent)
	c := running(t, s)
	before := c.History()
	c.Step(epoch, supervisor.Exited{Child: "a", Reason: supervisor.ReasonNormal, Why: "exit code 0"})
	c.Step(epoch.Add(time.Second), supervisor.StartFailed{Child: "a", Err: assert.AnError})
	require.Equal(t, supervisor.History{
		{At: epoch, Child: "a", Reason: supervisor.ReasonNormal, Why: "exit code 0"},
		{At: epoch.Add(time.Second), Child: "a", Reason: supervisor.ReasonAbnormal, Why: assert.AnError.Error(), Retry: true},
	}, c.History())
	require.Empty(t, before, "a history handed out stays as it is")
	c.Step(epoch, supervisor.Started{Child: "a"})
	for range supervisor.KeepRestarts {
		c.Step(epoch, supervisor.Exited{Child: "a", Why: "again"})
		c.Step(epoch, supervisor.Started{Child: "a"})
	}
	require.Len(t, c.History(), supervisor.KeepRestarts)
	require.Equal(t, "again", c.History()[0].Why)
}

func TestRate(t *testing.T) {
	every := func(n int, d time.Duration) (h supervisor.History) {
		for i := range n {
			h = append(h, supervisor.RestartRecord{At: epoch.Add(time.Duration(i) * d)})
		}
		return h
	}
	full := every(supervisor.KeepRestarts, time.Second) // the oldest is 31 s back at its newest
	for _, tt := range []struct {
		name    string
		history supervisor.History
		now     time.Duration
		window  time.Duration
		want    float64
	}{
		{"none", nil, 0, time.Minute, 0},
		{"no window", full, 0, 0, 0},
		{"two in two minutes", every(2, time.Minute), time.Minute, 2 * time.Minute, 1},
		{"the older is out of the window", every(2, time.Minute), 90 * time.Second, time.Minute, 1},
		{"all are", every(2, time.Minute), time.Hour, time.Minute, 0},
		{"a full one covers less than the window", full, 32 * time.Second, time.Hour, 60},
		{"a full one covers the window", full, 31 * time.Second, 10 * time.Second, 66},
		{"all at once", every(supervisor.KeepRestarts, 0), 0, time.Minute, 60 * supervisor.KeepRestarts},
	} {
		require.InDelta(t, tt.want, tt.history.Rate(epoch.Add(tt.now), tt.window), 1e-9, tt.name)
	}
}
