package memdb

import (
	"encoding/json"
	"strings"
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
		Name: anyText().Filter(func(s string) bool { return NameFault(s) == "" }).Draw(t, "name"), Node: anyText().Draw(t, "node"), Epoch: rapid.Uint64().Draw(t, "epoch"),
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

// TestNobodysClaim: what nobody could have registered is not taken from a peer, in
// either form; what is just within the limits is.
func TestNobodysClaim(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	text := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	for what, tc := range map[string]struct {
		name, value string
		wrong       string
	}{
		"plain":                    {"a", `1`, ""},
		"long":                     {strings.Repeat("x", maxNameBytes), text(MaxValueBytes), ""},
		"deep":                     {"a", nested(MaxValueDepth), ""},
		"reserved":                 {ReservedPrefix + "sandbox/x", `{"uid":"1"}`, ""},
		"no name":                  {"", ``, "no name"},
		"reserved, and no more":    {ReservedPrefix, ``, "a name is needed"},
		"reserved twice":           {ReservedPrefix + ReservedPrefix + "x", ``, "control characters"},
		"over-long":                {strings.Repeat("x", maxNameBytes+1), ``, "at most 255 bytes"},
		"with a control character": {"a\nb", ``, "control characters"},
		"with a byte 0":            {"a\x00n1", ``, "byte 0"},
		"a large value":            {"a", text(MaxValueBytes + 1), "at most 65536 bytes"},
		"too deep":                 {"a", nested(MaxValueDepth + 1), "nested deeper"},
	} {
		c := Claim{Name: tc.name, Node: "n2", Value: json.RawMessage(tc.value), Stamp: 1}
		ours, ok := marshalClaim(&c)
		require.True(t, ok)
		for _, raw := range []json.RawMessage{ours, append([]byte(" "), ours...)} { // read without encoding/json, and with it
			_, err := Change{Table: names, ID: tc.name, Row: raw}.decode("n2")
			if tc.wrong == "" {
				require.NoError(t, err, what)
				continue
			}
			require.Error(t, err, what)
			if tc.name != "" {
				require.ErrorContains(t, err, tc.wrong, what)
			}
		}
		db, err := Open("n2")
		require.NoError(t, err)
		_, err = db.Update(func(tx *Tx) error { return tx.PutClaim(c) })
		require.Equal(t, tc.wrong == "", err == nil, "%s: nor is it stored here", what)
	}
}

// TestRowsOfOthersKeys: a byte 0 in an id would put a row among those of another
// id, in every table, and delete them.
func TestRowsOfOthersKeys(t *testing.T) {
	db, err := Open("n1")
	require.NoError(t, err)
	_, err = db.Update(func(tx *Tx) error { return tx.PutClaim(Claim{Name: "a", Node: "n1"}) })
	require.NoError(t, err)
	for _, table := range replicated {
		for _, row := range []string{
			"", `{"name":"a\u0000n1","id":"a\u0000n1","pid":"a\u0000n1","uid":"a\u0000n1","node":"n3","stamp":1,"since":1}`,
		} {
			_, err := db.Apply("n3", Batch{Incarnation: 1, Changes: []Change{{Seq: 1, Table: table, ID: "a\x00n1", Deleted: row == "", Row: json.RawMessage(row)}}})
			require.ErrorContains(t, err, "byte 0", table)
		}
	}
	_, has := db.View().Claim("a", "n1")
	require.True(t, has)
	require.Equal(t, 1, db.View().Len())
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
