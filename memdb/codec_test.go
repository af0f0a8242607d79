package memdb

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringMatching(`[a-z/.]{1,8}`), rapid.StringN(1, 8, -1))
}

func anyClaim(t *rapid.T) Claim {
	value := rapid.SampledFrom([]string{"", "1", `"a\"b"`, `{"a": [1, "ä", {}]}`, "true", `{"<":"\u2028"}`}).Draw(t, "value")
	c := Claim{
		Name: anyText().Draw(t, "name"), Node: anyText().Draw(t, "node"), Epoch: rapid.Uint64().Draw(t, "epoch"),
		PID: rapid.SampledFrom([]string{"", "n1.x.1"}).Draw(t, "pid"), Sandbox: rapid.SampledFrom([]string{"", "shop"}).Draw(t, "sandbox"),
		Child: rapid.SampledFrom([]string{"", "cache"}).Draw(t, "child"), Stamp: rapid.Uint64Range(0, maxStamp).Draw(t, "stamp"), Since: rapid.Uint64().Draw(t, "since"),
	}
	if value != "" {
		c.Value = json.RawMessage(value)
	}
	return c
}

// TestCodecIsEncodingJSON: what is written is what encoding/json writes, and
// what is read is what it reads.
func TestCodecIsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Batch{Incarnation: rapid.Uint64().Draw(t, "incarnation"), From: rapid.Uint64().Draw(t, "from"), Confirmed: rapid.Uint64Range(0, 2).Draw(t, "confirmed")}
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			c := anyClaim(t)
			want, err := jsontext.Marshal(c)
			require.NoError(t, err)
			raw, ok := marshalClaim(&c)
			require.True(t, ok)
			require.Equal(t, string(want), string(raw))
			var slow Claim
			require.NoError(t, json.Unmarshal(raw, &slow))
			change := Change{Seq: rapid.Uint64().Draw(t, "seq"), Table: names, ID: slow.Name, Row: raw}
			row, err := change.decode(slow.Node)
			require.NoError(t, err)
			require.Equal(t, &slow, row)
			if change.Deleted = rapid.Bool().Draw(t, "deleted"); change.Deleted {
				change.Row = nil
			}
			b.Changes = append(b.Changes, change)
		}
		want, err := jsontext.Marshal(b)
		require.NoError(t, err)
		raw := b.Append(nil)
		require.Equal(t, string(want), string(raw))
		var slow, fast Batch
		require.NoError(t, json.Unmarshal(raw, &slow))
		if fast.Read(raw) {
			require.Equal(t, slow, fast)
		}
	})
}

func TestCodecTakesOnlyItsForm(t *testing.T) {
	claim := Claim{Name: "a", Node: "n1", PID: "n1.x.1", Sandbox: "shop", Child: "cache", Value: json.RawMessage(`{"a":1}`), Epoch: 1, Stamp: 2, Since: 3}
	raw, ok := marshalClaim(&claim)
	require.True(t, ok)
	read, ok := readClaim(raw, "a", "n1")
	require.True(t, ok, "our own form is read without encoding/json")
	require.Equal(t, &claim, read)
	for i := range raw {
		_, ok := readClaim(raw[:i], "a", "n1")
		require.False(t, ok, "%s", raw[:i])
	}
	_, ok = readClaim(raw, "b", "n1")
	require.False(t, ok)
	_, ok = readClaim(raw, "a", "n2")
	require.False(t, ok)
	_, ok = marshalClaim(&Claim{Value: json.RawMessage("{")})
	require.False(t, ok)

	batch := Batch{Incarnation: 1, From: 2, Confirmed: 3, Changes: []Change{{Seq: 3, Table: names, ID: "a", Row: raw}, {Seq: 4, Table: names, ID: "a", Deleted: true}}}
	raw = batch.Append(nil)
	require.True(t, new(Batch).Read(raw))
	for i := range raw {
		require.False(t, new(Batch).Read(raw[:i]))
	}
}
