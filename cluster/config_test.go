package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// TestValidate: every mistake is an error that names the field and says what
// was found there.
func TestValidate(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(*Config)
		field  string
		says   string
	}{
		"no name":               {func(c *Config) { c.Self = "" }, "name", `""`},
		"a name with a dot":     {func(c *Config) { c.Self = "n1.local" }, "name", `"n1.local"`},
		"a name in capitals":    {func(c *Config) { c.Self = "N1" }, "name", `"N1"`},
		"a name with a dash":    {func(c *Config) { c.Self = "n1-" }, "name", "not at an end"},
		"a name too long":       {func(c *Config) { c.Self = string(make([]byte, 64)) }, "name", "63"},
		"no cluster":            {func(c *Config) { c.Cluster = "" }, "cluster", "needs a name"},
		"no address":            {func(c *Config) { c.Addr = "" }, "advertise", "HOST:PORT"},
		"an address, no port":   {func(c *Config) { c.Addr = "10.0.0.1" }, "advertise", "10.0.0.1"},
		"itself among peers":    {func(c *Config) { c.Peers["n1"] = "n9:1" }, "peers", "n9:1"},
		"a peer's name":         {func(c *Config) { c.Peers["n_2"] = "n9:1" }, "peers", `"n_2"`},
		"a peer without a port": {func(c *Config) { c.Peers["n4"] = "n4" }, "peers", `"n4"`},
		"an address twice":      {func(c *Config) { c.Peers["n4"] = "n2:1" }, "peers", "n2 and n4 are both at n2:1"},
		"a peer at our address": {func(c *Config) { c.Peers["n4"] = "n1:1" }, "peers", "n1 and n4"},
		"no ping":               {func(c *Config) { c.PingEvery = 0 }, "ping_every", "more than 0"},
		"no suspicion":          {func(c *Config) { c.SuspectAfter = 0 }, "suspect_after", "more than 0"},
		"a negative time":       {func(c *Config) { c.DeadAfter = -time.Second }, "dead_after", "-1s"},
		"no ask timeout":        {func(c *Config) { c.AskTimeout = 0 }, "ask_timeout", "more than 0"},
		"no second refusal":     {func(c *Config) { c.SecondRefusal = 0 }, "second_refusal", "more than 0"},
		"no redial":             {func(c *Config) { c.RedialMin = 0 }, "redial_min", "more than 0"},
		"no slow redial":        {func(c *Config) { c.RedialMax = 0 }, "redial_max", "more than 0"},
		"redials that shrink":   {func(c *Config) { c.RedialMin = time.Minute }, "redial_max", "less than redial_min, 1m0s"},
		"no handshake":          {func(c *Config) { c.HandshakeTimeout = 0 }, "handshake_timeout", "more than 0"},
		"no stall":              {func(c *Config) { c.StallAfter = 0 }, "stall_after", "more than 0"},
		"suspect before a ping": {func(c *Config) { c.SuspectAfter = c.PingEvery }, "dead_after", "the times must grow"},
		"dead before suspect":   {func(c *Config) { c.DeadAfter = c.SuspectAfter }, "dead_after", "suspect_after 1s < dead_after 1s"},
	} {
		t.Run(what, func(t *testing.T) {
			c := testConfig(t, "lan", "n2", "n3")
			tc.change(&c)
			err := c.Validate()
			require.Equal(t, errs.BadParameter, errs.KindOf(err))
			require.Equal(t, tc.field, errs.From(err).Param)
			require.ErrorContains(t, err, tc.says)
			_, err = New(c, Options{})
			require.ErrorContains(t, err, tc.says, "nothing is made of it")
		})
	}
}

func TestPresets(t *testing.T) {
	for name, times := range presets {
		c := testConfig(t, name, "n2") // which is valid
		require.Equal(t, times, [3]time.Duration{c.PingEvery, c.SuspectAfter, c.DeadAfter})
		require.Less(t, c.AskTimeout, c.DeadAfter, "the others are asked to be quicker than silence")
	}
	_, err := Preset("moon")
	require.Equal(t, errs.BadParameter, errs.KindOf(err))
	require.Equal(t, "preset", errs.From(err).Param)
	require.ErrorContains(t, err, `"moon" is none; there are lan, local, wan`)
}

// TestPeersHash is equal for the same nodes, whoever of them asks.
func TestPeersHash(t *testing.T) {
	n1 := testConfig(t, "lan", "n2", "n3")
	n2 := n1
	n2.Self, n2.Peers = "n2", map[string]string{"n1": "elsewhere:1", "n3": "n3:1"}
	require.Equal(t, peersHash(n1), peersHash(n2), "addresses may differ by where one is")
	n2.Peers["n4"] = "n4:1"
	require.NotEqual(t, peersHash(n1), peersHash(n2))
	require.Less(t, peersHash(n1), uint64(1)<<53, "exact in JSON")
}

// TestEveryTypeOfEventHasItsOrder in what the other tests check.
func TestEveryTypeOfEventHasItsOrder(t *testing.T) {
	for _, e := range EventTypes() {
		require.Contains(t, follows, e)
	}
	require.Len(t, follows, len(EventTypes())+1, "and none yet")
}
