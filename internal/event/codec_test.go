package event

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// TestCodecIsEncodingJSON: what is written is what encoding/json writes, and is
// read as it reads it.
func TestCodecIsEncodingJSON(t *testing.T) {
	at := time.Date(2026, 11, 25, 2, 30, 0, 123456000, time.UTC)
	known := func(text []byte) string { return string(text) }
	for _, e := range []Event{
		{Time: at},
		{Time: at.Truncate(time.Second), Node: "n1", Incarnation: 1, Seq: 2, Type: "T", Subject: "s", Data: json.RawMessage(`{"a": [1, "\u2028<"]}`), Why: "w"},
		{Time: at, Node: "n1", Type: "ä", Subject: "a\"b", Why: "\n"},
	} {
		want, err := jsontext.Marshal(e)
		require.NoError(t, err)
		raw, err := e.marshal()
		require.NoError(t, err)
		require.Equal(t, string(want), string(raw))
		var slow Event
		require.NoError(t, json.Unmarshal(raw, &slow))
		if fast, ok := decode(raw, known); ok {
			require.Equal(t, slow, fast)
		} else {
			require.Equal(t, "ä", e.Type, "plain text is read without encoding/json")
		}
		for i := range raw {
			_, ok := decode(raw[:i], known)
			require.False(t, ok)
		}
	}
	_, err := Event{Data: json.RawMessage("{")}.marshal()
	require.Error(t, err)
}

func TestKnownTextsAreBounded(t *testing.T) {
	l := NewLog("n1", 1, 10, time.Now, nil)
	for i := range 2 * knownTexts {
		require.Equal(t, string(rune('a'+i)), l.known([]byte(string(rune('a'+i)))))
	}
	require.Len(t, l.texts, knownTexts)
}
