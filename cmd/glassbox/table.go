package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table aligns columns for people.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// columnGap is the space between two columns.
const columnGap = "  "

// write prints the table; the last column is not padded, and an empty cell is
// a dash.
func (t *table) write(w io.Writer, color bool) error {
	widths := make([]int, len(t.head))
	all := append([][]string{t.head}, t.rows...)
	for _, row := range all {
		for i := range row {
			row[i] = oneLine(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for n, row := range all {
		var b strings.Builder
		for i, cell := range row {
			shown := cell
			switch {
			case color && n == 0:
				shown = bold + cell + plain
			case color:
				shown = paint(cell)
			}
			b.WriteString(shown)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + columnGap)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// oneLine keeps what programs and peers say from breaking the table or driving
// the terminal.
func oneLine(cell string) string {
	if cell == "" {
		return "-"
	}
	return printable(cell)
}

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

// ANSI codes (ECMA-48, select graphic rendition).
const (
	plain  = "\x1b[0m"
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

// paint colours the words that tell well from unwell.
func paint(cell string) string {
	switch cell {
	case "alive", "running", "whole", "healthy", "direct", "MemberJoined", "MemberRecovered":
		return green + cell + plain
	case "suspect", "joining", "unknown", "starting", "stopping", "partial", "warning", "MemberSuspected", "Gap":
		return yellow + cell + plain
	case "dead", "failed", "minority", "error", "none", "MemberFailed", "SandboxFailed":
		return red + cell + plain
	default:
		return cell
	}
}
