package main

import (
	"io"
	"strings"
)

// printable replaces control characters, which could drive a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return '·'
		default:
			return r
		}
	}, text)
}

// visible writes to a terminal what others have said, such as errors: what
// could drive the terminal is replaced, line by line.
type visible struct{ w io.Writer }

func (v visible) Write(p []byte) (int, error) {
	lines := strings.Split(string(p), "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	if _, err := io.WriteString(v.w, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}
