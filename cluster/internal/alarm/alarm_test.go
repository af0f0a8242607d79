package alarm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAlarm(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var a Alarm
	require.False(t, a.Rings(now))
	a.Ask(time.Time{})
	a.AskAfter(now, now)
	require.Zero(t, a.At())
	a.Ask(now.Add(2))
	a.AskAfter(now, now.Add(1))
	a.Ask(now.Add(3))
	require.Equal(t, now.Add(1), a.At(), "the earliest")
	require.False(t, a.Rings(now))
	require.True(t, a.Rings(now.Add(1)))
	require.Zero(t, a.At(), "once")
}
