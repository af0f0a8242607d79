package exec

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// splitAll splits text that arrives in chunks of a size.
func splitAll(text string, size int) []string {
	var s splitter
	var got []string
	take := func(lines [][]byte) {
		for _, line := range lines {
			got = append(got, string(line))
		}
	}
	for ; len(text) > 0; text = text[min(size, len(text)):] {
		take(s.split([]byte(text[:min(size, len(text))])))
	}
	take(s.rest())
	return got
}

func TestLongLinesAreCutBetweenCharacters(t *testing.T) {
	for _, long := range []string{
		strings.Repeat("x", 3*maxLine),
		"x" + strings.Repeat("é", maxLine),
		"xy" + strings.Repeat("€", maxLine),
		"x" + strings.Repeat("😀", maxLine),
	} {
		for _, size := range []int{1 << 20, maxLine, 4096, 1000, 7} {
			got := splitAll("first\n"+long+"\r\nlast", size)
			require.Equal(t, "first", got[0])
			require.Equal(t, "last", got[len(got)-1])
			require.Equal(t, long, strings.Join(got[1:len(got)-1], ""))
			for _, line := range got {
				require.True(t, utf8.ValidString(line))
				require.LessOrEqual(t, len(line), maxLine)
			}
		}
	}
}

func TestBytesThatAreNoTextAreCutAtTheLimit(t *testing.T) {
	got := splitAll(strings.Repeat("\xff", 2*maxLine)+strings.Repeat("\x80", maxLine), 1000)
	require.Len(t, got, 3)
	for _, line := range got {
		require.Len(t, line, maxLine)
	}
}
