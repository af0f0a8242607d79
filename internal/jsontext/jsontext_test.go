package jsontext

import (
	"encoding/json"
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

func TestDepth(t *testing.T) {
	for text, depth := range map[string]int{`1`: 0, `"[[["`: 0, `[]`: 1, `{"a":[{"b\"]":{}}],"c":[[]]}`: 4} {
		require.Equal(t, depth, Depth([]byte(text)), text)
	}
}
