package cluster

import (
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what the scenarios record anew")

// TestScenarios tells the stories of testdata. See story for their language.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			require.NoError(t, err)
			told := runScenario(t, string(script))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(told), 0o644))
				return
			}
			require.Equal(t, string(script), told, "if the change is meant, -update and read the diff")
		})
	}
}

// reached is a core that has reached its peers.
func reached(t *testing.T, peers ...string) *Core {
	c := NewCore(testConfig(t, "lan", peers...), epoch, rand.New(rand.NewPCG(1, 2)))
	for _, name := range peers {
		c.Step(epoch, Connected{name, true, Info{Incarnation: 5, Addr: name + ":1", Ready: true}})
	}
	return c
}

// TestLateWordsOfAFormerLife change nothing in the new one.
func TestLateWordsOfAFormerLife(t *testing.T) {
	c := reached(t, "n2")
	c.Step(epoch, Connected{"n2", false, Info{Incarnation: 6, Addr: "n2:1"}})
	before := c.Members(epoch)
	require.Equal(t, Joining, before[1].State)
	for _, in := range []Input{Pinged{"n2", 5, true}, Goodbye{"n2", 5}} {
		require.Empty(t, c.Step(epoch, in), "%T", in)
		require.Equal(t, before, c.Members(epoch), "%T", in)
	}
	c.Step(epoch, Pinged{"n2", 6, true})
	require.Equal(t, Alive, c.Members(epoch)[1].State)
}

// TestAnInquiryEnds although nobody answers, every tick is late, and somebody
// talks who was not asked.
func TestAnInquiryEnds(t *testing.T) {
	c := reached(t, "n2", "n3", "n4")
	c.Step(epoch, Disconnected{Peer: "n4", Dialled: true, Why: "lost"})
	c.Step(epoch, Disconnected{Peer: "n2", Dialled: true, Why: "lost"})
	require.Contains(t, c.Step(epoch, DialFailed{"n2", true, "refused"}), Ask{[]string{"n3"}, "n2"})
	c.Step(epoch, Told{"n2", "n4", Refused})
	require.Equal(t, Suspect, c.Members(epoch)[1].State, "n4 was not asked")
	now := epoch
	for range 3 {
		now = now.Add(c.cfg.AskTimeout)
		c.Step(now, Tick{c.cfg.AskTimeout})
	}
	require.Equal(t, Dead, c.Members(now)[1].State)
}

// TestWhatPeersSayOfTimeIsBounded: numbers that overflow would be the future.
func TestWhatPeersSayOfTimeIsBounded(t *testing.T) {
	require.Zero(t, ago(-1))
	require.Equal(t, time.Millisecond, ago(1000))
	require.Equal(t, time.Hour, ago(math.MaxInt64))
}
