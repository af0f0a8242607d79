package sim

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/harness"
)

var update = flag.Bool("update", false, "write the stories anew")

const ms = time.Millisecond

// stories are what the protocols do, step by step: each is a file in testdata.
var stories = map[string]Plan{
	"formation": {Nodes: 3, Acts: []Act{{Whole: true}}},
	"crash": {Nodes: 3, Acts: []Act{{
		Length: 3 * time.Second,
		Ops: []Op{
			{At: 0, Node: "n3", Kind: Register, Name: "shop"},
			{At: 100 * ms, Node: "n1", Kind: Lookup, Name: "shop"},
			{At: 600 * ms, Node: "n1", Kind: Lookup, Name: "shop"},
			{At: 700 * ms, Node: "n1", Kind: Register, Name: "shop", Value: 1},
		},
		Faults: []Fault{{500 * ms, harness.Fault{Action: harness.Kill, Node: "n3"}}},
	}}},
	"freeze_and_thaw": {Nodes: 3, Acts: []Act{{
		Length: 6 * time.Second,
		Ops: []Op{
			{At: 0, Node: "n3", Kind: Register, Name: "shop"},
			{At: 1500 * ms, Node: "n1", Kind: Lookup, Name: "shop"},
			{At: 1600 * ms, Node: "n1", Kind: Register, Name: "other"},
			{At: 4000 * ms, Node: "n1", Kind: Lookup, Name: "shop"},
			{At: 5500 * ms, Node: "n1", Kind: Lookup, Name: "shop"},
		},
		Faults: []Fault{
			{500 * ms, harness.Fault{Action: harness.Freeze, Node: "n3"}},
			{5000 * ms, harness.Fault{Action: harness.Thaw, Node: "n3"}},
		},
	}}},
	"partial_partition": {Nodes: 3, Acts: []Act{{
		Length: 8 * time.Second,
		Ops: []Op{
			{At: 3000 * ms, Node: "n1", Kind: Register, Name: "shop"},
			{At: 3500 * ms, Node: "n2", Kind: Lookup, Name: "shop"},
			{At: 4000 * ms, Node: "n2", Kind: Register, Name: "shop", Value: 1},
			{At: 5000 * ms, Node: "n2", Kind: Unregister, Name: "shop"},
			{At: 5500 * ms, Node: "n1", Kind: Lookup, Name: "shop"},
		},
		Faults: []Fault{
			{500 * ms, harness.CutLink("n1", "n2", harness.Both)},
			{7000 * ms, harness.Fault{Action: harness.Heal}},
		},
	}}},
	"name_race": {Nodes: 3, Acts: []Act{{
		Whole: true, Length: time.Second,
		Ops: []Op{
			{At: 0, Node: "n1", Kind: Register, Name: "shop", Value: 1},
			{At: 0, Node: "n2", Kind: Register, Name: "shop", Value: 2},
			{At: 0, Node: "n3", Kind: Register, Name: "shop", Value: 3},
			{At: 1 * ms, Node: "n1", Kind: Consistent, Name: "shop"},
			{At: 100 * ms, Node: "n2", Kind: Unregister, Name: "shop"},
			{At: 100 * ms, Node: "n3", Kind: Register, Name: "shop", Value: 4},
		},
	}}},
	"heal_with_conflict": {Nodes: 3, Acts: []Act{{
		Length: 6 * time.Second,
		Ops: []Op{
			{At: 4000 * ms, Node: "n1", Kind: Register, Name: "shop", Value: 1},
			{At: 4100 * ms, Node: "n3", Kind: Register, Name: "shop", Value: 3},
			{At: 4500 * ms, Node: "n2", Kind: Lookup, Name: "shop"},
			{At: 4500 * ms, Node: "n3", Kind: Lookup, Name: "shop"},
		},
		Faults: []Fault{
			{500 * ms, harness.CutOff("n3", harness.Both)},
			{5000 * ms, harness.Fault{Action: harness.Heal}},
		},
	}}},
	"reborn": {Nodes: 3, Acts: []Act{{
		Length: 3 * time.Second,
		Ops: []Op{
			{At: 0, Node: "n1", Kind: Register, Name: "kept"},
			{At: 0, Node: "n3", Kind: Register, Name: "lost"},
			{At: 2000 * ms, Node: "n3", Kind: Lookup, Name: "kept"},
			{At: 2000 * ms, Node: "n3", Kind: Lookup, Name: "lost"},
			{At: 2100 * ms, Node: "n3", Kind: Register, Name: "lost", Value: 1},
		},
		Faults: []Fault{
			{500 * ms, harness.Fault{Action: harness.Kill, Node: "n3"}},
			{501 * ms, harness.Fault{Action: harness.Start, Node: "n3"}},
		},
	}}},
}

// TestStories compares what happens with what is written down; -update writes it
// anew.
func TestStories(t *testing.T) {
	for name, p := range stories {
		t.Run(name, func(t *testing.T) {
			p.Seed, p.Preset = 1, "lan"
			for i := range p.Acts {
				p.Acts[i].Quiet = 5 * time.Second
			}
			o, err := Run(p)
			require.NoError(t, err)
			require.Empty(t, o.Broken)
			file := filepath.Join("testdata", name+".txt")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(o.Log), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), o.Log, "-update writes it anew")
		})
	}
}
