package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzScan compares the scanner with encoding/json on all that is valid JSON.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, ` { "a" : 1 , "b":[1,{"c":"]}"}], "\u00e9\"\\":"\\\\\"" } `, `[1, "a\\", [], {"x":[null]} ,-1.5e3, true]`, `{"":""}`, `["\\\"",""]`, "{\"ü\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i := SkipSpace(b, 0)
		if !json.Valid(b) || b[i] != '{' && b[i] != '[' {
			return
		}
		if b[i] == '[' {
			var want, got []json.RawMessage
			require.NoError(t, json.Unmarshal(b, &want))
			EachElement(b, func(v []byte) { got = append(got, v) })
			require.Len(t, got, len(want))
			for i := range want {
				require.Equal(t, string(want[i]), string(got[i]))
			}
			return
		}
		want, got := map[string]json.RawMessage{}, map[string]json.RawMessage{}
		require.NoError(t, json.Unmarshal(b, &want))
		EachMember(b, func(k, v []byte) { got[Unquote(k)] = v })
		require.Len(t, got, len(want))
		for k, v := range want {
			require.Equal(t, string(v), string(got[k]), "%q", k)
		}
	})
}

func TestWhole(t *testing.T) {
	for text, whole := range map[string]bool{
		`""`: true, `"ä\n\\ud800\u00e4"`: true, `"\ud83d\ude00"`: true, `"\uD83D\uDE00x"`: true, `"\ufffd"`: true, "\"\ufffd\"": true,
		`"\ud800"`: false, `"a\ud800b"`: false, `"\ud800\n1234"`: false, `"\ud800\u0041"`: false, `"\ude00"`: false, `"\ude00\ud83d"`: false,
		`"\ud83d\ude00\ud83d"`: false, `"\\\ud800"`: false, "\"\xff\"": false,
	} {
		require.True(t, json.Valid([]byte(text)), text)
		require.Equal(t, whole, Whole([]byte(text)), text)
	}
}

// FuzzWhole: a string is whole if encoding/json reads what it says.
func FuzzWhole(f *testing.F) {
	for _, seed := range []string{`"\ud83d\ude00"`, `"a\ud800b"`, `"\\ud800"`, `"\u00e4"`, "\"\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s string
		if json.Unmarshal(b, &s) != nil || b[0] != '"' || b[len(b)-1] != '"' {
			return
		}
		if !strings.ContainsRune(s, '\ufffd') {
			require.True(t, Whole(b))
		} else if !bytes.Contains(b, []byte("\ufffd")) && !bytes.Contains(bytes.ToLower(b), []byte(`\ufffd`)) {
			require.False(t, Whole(b))
		}
	})
}

func TestDepth(t *testing.T) {
	for text, depth := range map[string]int{`1`: 0, `"[[["`: 0, `[]`: 1, `{"a":[{"b\"]":{}}],"c":[[]]}`: 4} {
		require.Equal(t, depth, Depth([]byte(text)), text)
	}
}
