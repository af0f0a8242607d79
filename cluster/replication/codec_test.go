package replication

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/memdb"
)

// TestEncodeIsEncodingJSON: what is written is what encoding/json writes, and is
// read as it reads it; what is cut off is not read.
func TestEncodeIsEncodingJSON(t *testing.T) {
	rows := []memdb.Change{{Table: "names", ID: "a", Row: json.RawMessage(`{"name":"a"}`)}, {Seq: 2, Table: "names", ID: "ä", Deleted: true}}
	for method, list := range map[string][]any{
		PushMethod: {&Push{}, &Push{Incarnation: 1, From: 2, Confirmed: 3, Changes: rows}},
		SnapshotMethod: {
			&Chunk{Origin: "n1", Position: memdb.Position{Incarnation: 1, Seq: 2}, Confirmed: 3, Index: 4, Rows: rows},
			&Chunk{Last: true},
		},
		FeedMethod: {
			&Publication{Feed: "events", Incarnation: 1, From: 2, Missed: 3, Entries: []json.RawMessage{json.RawMessage(`{"a":"]"}`), json.RawMessage("1")}},
			&Publication{},
		},
		PullMethod: {&Pull{Origin: "n1", Index: 2}},
	} {
		for _, params := range list {
			want, err := jsontext.Marshal(params)
			require.NoError(t, err)
			raw, ok := Encode(params).(json.RawMessage)
			if method == PullMethod {
				require.False(t, ok)
				raw = want
			}
			require.Equal(t, string(want), string(raw))
			read, err := Decode(method, raw)
			require.NoError(t, err)
			slow := Params(method)
			require.NoError(t, json.Unmarshal(raw, slow))
			require.Equal(t, slow, read)
			if fast, ok := Params(method).(interface{ Read([]byte) bool }); ok {
				for i := range raw {
					require.False(t, fast.Read(raw[:i]))
				}
			}
		}
	}
	_, err := Decode("other", nil)
	require.Error(t, err)
	_, err = Decode(PushMethod, json.RawMessage(`{"incarnation":"x"}`))
	require.Error(t, err)
	read, err := Decode(PushMethod, json.RawMessage(`{ "from": 7 }`))
	require.NoError(t, err, "any other form is as good")
	require.Equal(t, &Push{From: 7}, read)
}
