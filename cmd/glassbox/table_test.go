package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/memdb"
)

func TestTable(t *testing.T) {
	var b bytes.Buffer
	table := newTable("NODE", "STATE", "WHY")
	table.add("ä", "alive", "")
	table.add("n2", "dead", "a\x1b[2Jb\nc")
	require.NoError(t, table.write(&b, false, 0))
	require.Equal(t, "NODE  STATE  WHY\nä     alive  -\nn2    dead   a·[2Jb·c\n", b.String())
	b.Reset()
	require.NoError(t, table.write(&b, true, 0))
	require.Equal(t, "\x1b[1mNODE\x1b[0m  \x1b[1mSTATE\x1b[0m  \x1b[1mWHY\x1b[0m\n"+
		"ä     \x1b[32malive\x1b[0m  -\nn2    \x1b[31mdead\x1b[0m   a·[2Jb·c\n", b.String())
}

// TestTableWidth: on a terminal the last column is cut to what is left of it.
func TestTableWidth(t *testing.T) {
	for columns, want := range map[int]string{
		0: "NODE  WHY\nn1    nobody answers\n", 20: "NODE  WHY\nn1    nobody answers\n",
		19: "NODE  WHY\nn1    nobody answe…\n", 14: "NODE  WHY\nn1    nobody …\n",
		13: "NODE WHY\nn1   nobody …\n", 3: "NODE WHY\nn1   nobody …\n",
	} {
		var b bytes.Buffer
		table := newTable("NODE", "WHY")
		table.add("n1", "nobody answers")
		require.NoError(t, table.write(&b, false, columns))
		require.Equal(t, want, b.String())
	}
}

// TestCutTo: only a terminal cuts, and not with --wide; what is cut keeps its
// colour.
func TestCutTo(t *testing.T) {
	e := event.Event{Time: time.Now(), Node: "n1", Type: "MemberFailed", Subject: "n2", Why: "its silence\x1b[2J"}
	for columns, want := range map[int]string{
		0: "n1    \x1b[31mMemberFailed\x1b[0m      n2  its silence·[2J\n", 50: "n1    \x1b[31mMemberFailed\x1b[0m      n2  its sil…\n",
	} {
		var b bytes.Buffer
		a := &app{out: &b, color: true, columns: func() int { return columns }}
		a.view().event(e)
		require.Equal(t, want, b.String()[len("15:04:05.000  "):])
		require.Equal(t, columns, a.cutTo())
		a.client.wide = true
		require.Zero(t, a.cutTo())
	}
	require.Zero(t, (&app{}).cutTo())
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 3 * time.Hour: "3h00m", 50 * time.Hour: "2d",
	} {
		require.Equal(t, want, short(d))
	}
}

func TestExitText(t *testing.T) {
	for want, exit := range map[string]memdb.Exit{
		"exited with 3": {Cause: memdb.CauseExited, Code: 3}, "ended by SIGSEGV": {Cause: memdb.CauseSignaled, Signal: "SIGSEGV"},
		"killed by x": {Cause: memdb.CauseKilled, By: "x"}, "not started: y": {Cause: memdb.CauseStartFailed, Detail: "y"}, "lost": {Cause: memdb.CauseLost},
	} {
		require.Equal(t, want, exitText(&exit))
	}
}
