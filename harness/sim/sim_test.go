package sim

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

var seeds = flag.Uint64("seeds", 50, "how many plans are simulated")
var one = flag.Int64("one", -1, "show the run of this seed")

// TestMixed: whatever happens, the rules hold.
func TestMixed(t *testing.T) {
	for seed := range *seeds {
		nodes := 3 + int(seed%3)
		o, err := Run(Mixed(seed, nodes))
		require.NoError(t, err)
		if !o.Passed() {
			t.Log(o.Log)
		}
		require.True(t, o.Passed(), "%v\n%s", o.Broken, Command(seed, nodes))
	}
}

// TestAThirdIsDead: two nodes that are never without each other have no conflict, and the rules
// hold.
func TestAThirdIsDead(t *testing.T) {
	for seed := range min(*seeds, 20) {
		o, err := Run(thirdDead(seed))
		require.NoError(t, err)
		require.Empty(t, o.Broken)
		require.NotContains(t, o.Log, "NameConflict")
	}
}

// thirdDead is an act in which n1 and n2 claim the same names at the same moments,
// and only n3 is killed.
func thirdDead(seed uint64) Plan {
	a := Act{Length: 4 * time.Second, Quiet: quiet, Faults: []Fault{
		{0, harness.Fault{Action: harness.Kill, Node: "n3"}}, {3500 * time.Millisecond, harness.Fault{Action: harness.Start, Node: "n3"}},
	}}
	for i := range 40 {
		at := 1500*time.Millisecond + time.Duration(i)*20*time.Millisecond
		for value, node := range []string{"n1", "n2"} {
			a.Ops = append(a.Ops, Op{At: at, Node: node, Kind: Register, Name: fmt.Sprintf("x%d", i), Value: value})
		}
	}
	return Plan{Seed: seed, Nodes: 3, Preset: "local", Acts: []Act{a}}
}

// TestFlapping: acts in which one link or node goes up and down, of all kinds.
func TestFlapping(t *testing.T) {
	kinds := map[harness.Action]int{}
	for seed := range uint64(40) {
		a := flapping(rand.New(rand.NewPCG(seed, 2)), 3)
		ups := 0
		for i, f := range a.Faults {
			kinds[f.Action]++
			require.Equal(t, i%2 == 0, !f.Mends(), "down and up in turn")
			if f.Mends() {
				ups++
			}
		}
		require.GreaterOrEqual(t, ups, 3)
		o, err := Run(Plan{Seed: seed, Nodes: 3, Preset: "local", Acts: []Act{a}})
		require.NoError(t, err)
		require.Empty(t, o.Broken, "%s", o.Plan)
	}
	for _, action := range []harness.Action{harness.Kill, harness.Start, harness.Freeze, harness.Thaw, harness.Cut, harness.Heal} {
		require.NotZero(t, kinds[action], action)
	}
}

// TestTheSameSeedGivesTheSameLog, byte for byte.
func TestTheSameSeedGivesTheSameLog(t *testing.T) {
	for seed := range uint64(5) {
		a, err := Run(Mixed(seed, 4))
		require.NoError(t, err)
		b, err := Run(Mixed(seed, 4))
		require.NoError(t, err)
		require.Equal(t, a.Log, b.Log)
	}
}

// TestOne repeats one run and shows all of it.
func TestOne(t *testing.T) {
	if *one < 0 {
		t.Skip("-one=SEED repeats a run")
	}
	silent = slog.New(slog.NewTextHandler(os.Stdout, nil))
	nodes := 3 + int(*one%3)
	o, err := Run(Mixed(uint64(*one), nodes))
	require.NoError(t, err)
	t.Log(o.Log)
	require.Empty(t, o.Broken)
}

// BenchmarkFaults is 10 virtual minutes of 5 nodes with faults and operations.
func BenchmarkFaults(b *testing.B) {
	for n := range b.N {
		p := Long(uint64(n+1), 5, 10*time.Minute)
		p.Preset = "lan"
		o, err := Run(p)
		require.NoError(b, err)
		require.Empty(b, o.Broken)
		b.ReportMetric(o.Real.Seconds()/o.Virtual.Minutes()*10, "s/10min")
	}
}

// BenchmarkManyNodes forms a cluster and lets it be for three virtual seconds; the
// cost is told per node.
func BenchmarkManyNodes(b *testing.B) {
	for _, nodes := range []int{10, 30, 100} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			for range b.N {
				c, err := New(1, nodes, "lan")
				require.NoError(b, err)
				c.quiet = true
				began := time.Now()
				c.world.Run(3 * time.Second)
				require.Empty(b, c.whole())
				b.ReportMetric(float64(time.Since(began).Milliseconds())/float64(nodes), "ms/node/3s")
			}
		})
	}
}
