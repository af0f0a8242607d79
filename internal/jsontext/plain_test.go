package jsontext

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendStringIsMarshal(t *testing.T) {
	for _, s := range []string{"", "a/b", `"`, `\`, "\n", "ä", "\u2028", "\xff", "<&>", "\x7f"} {
		raw, err := Marshal(s)
		require.NoError(t, err)
		require.Equal(t, string(raw), string(AppendString(nil, s)))
		if content, ok := PlainString(raw); ok {
			require.Equal(t, s, content)
		}
	}
	_, ok := PlainString([]byte(`"`))
	require.False(t, ok)
}

func TestReader(t *testing.T) {
	r := NewReader([]byte(`{"a":18446744073709551615,"b":"text","c":{"x":[1,"}\""]},"d":true}`))
	r.Want(`{"a":`)
	require.EqualValues(t, uint64(math.MaxUint64), r.Uint())
	require.False(t, r.Has(`,"c"`))
	r.Want(`,"b":`)
	require.Equal(t, "text", string(r.Text()))
	r.Want(`,"c":`)
	require.Equal(t, `{"x":[1,"}\""]}`, string(r.Valid()))
	r.Want(`,"d":`)
	require.Equal(t, "true", string(r.Valid()))
	require.False(t, r.OK(), "something is left")
	r.Want("}")
	require.True(t, r.OK())

	for _, bad := range []string{"", "-1", "01", "18446744073709551616", "x"} {
		r := NewReader([]byte(bad))
		require.Zero(t, r.Uint())
		require.True(t, r.Failed(), bad)
	}
	for _, bad := range []string{"", `"`, `"a`, `"\n"`, `"ä"`, "\"\n\"", "1"} {
		r := NewReader([]byte(bad))
		require.Empty(t, r.Text())
		require.True(t, r.Failed(), bad)
	}
	for _, bad := range []string{"", ",", "}", `"`, `"\`, `{`, `[1`, "x", `{]`} {
		r := NewReader([]byte(bad))
		require.Empty(t, r.Valid())
		require.True(t, r.Failed(), bad)
		require.False(t, r.OK())
	}
}

// FuzzReader: whatever it is given, it does not panic, and what it says is valid
// is.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"a":1}`))
	f.Add([]byte(`"a\"",[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		NewReader(b).Uint()
		NewReader(b).Text()
		r := NewReader(b)
		if value := r.Valid(); !r.Failed() {
			require.True(t, json.Valid(value))
		}
	})
}
