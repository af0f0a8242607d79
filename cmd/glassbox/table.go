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

// Space between two columns, and where that is one too much for the terminal.
const (
	columnGap = "  "
	narrowGap = " "
)

// minLast is what is left of a last column however narrow the terminal is.
const minLast = 8

// write prints the table; the last column is not padded, and an empty cell is
// a dash. If columns is not 0 the last column is cut to what is left of it.
func (t *table) write(w io.Writer, color bool, columns int) error {
	widths := make([]int, len(t.head))
	all := append([][]string{t.head}, t.rows...)
	for _, row := range all {
		for i := range row {
			row[i] = oneLine(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	last, gap := len(t.head)-1, columnGap
	before := last * len(gap)
	for _, width := range widths[:last] {
		before += width
	}
	if columns > 0 && before+min(widths[last], minLast) > columns {
		gap = narrowGap
		before -= last * (len(columnGap) - len(narrowGap))
	}
	for n, row := range all {
		if columns > 0 {
			row[last] = cut(row[last], max(columns-before, minLast))
		}
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
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + gap)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// cut shortens a text to a width, and shows that it did.
func cut(text string, width int) string {
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return text
}

// oneLine keeps what programs and peers say from breaking the table or driving
// the terminal.
func oneLine(cell string) string {
	if cell == "" {
		return "-"
	}
	return printable(cell)
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
	case "dead", "failed", "minority", "error", "none", "MemberFailed", "SandboxFailed", "SandboxDropped":
		return red + cell + plain
	default:
		return cell
	}
}
