package sim

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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

func TestTenMinutes(t *testing.T) {
	c, err := New(1, 5, "lan")
	require.NoError(t, err)
	began := time.Now()
	c.world.Run(10 * time.Minute)
	fmt.Println(time.Since(began), c.whole())
}
