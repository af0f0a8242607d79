package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/memdb"
)

func TestTable(t *testing.T) {
	var b bytes.Buffer
	table := newTable("NODE", "STATE", "WHY")
	table.add("ä", "alive", "")
	table.add("n2", "dead", "a\x1b[2Jb\nc")
	require.NoError(t, table.write(&b, false))
	require.Equal(t, "NODE  STATE  WHY\nä     alive  -\nn2    dead   a·[2Jb·c\n", b.String())
	b.Reset()
	require.NoError(t, table.write(&b, true))
	require.Equal(t, "\x1b[1mNODE\x1b[0m  \x1b[1mSTATE\x1b[0m  \x1b[1mWHY\x1b[0m\n"+
		"ä     \x1b[32malive\x1b[0m  -\nn2    \x1b[31mdead\x1b[0m   a·[2Jb·c\n", b.String())
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
