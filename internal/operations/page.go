package operations

import (
	"slices"
	"sort"
	"strings"
)

// Paging bounds of the lists.
type pageParams struct {
	Limit  int    `json:"limit" default:"100" min:"1" max:"1000" doc:"at most this many"`
	Cursor string `json:"cursor" doc:"go on behind this one: next of the page before"`
}

// page cuts one page out of rows that are sorted by key; next is "" on the
// last one. Rows that come or go between two pages shift nothing: the cursor
// is the key of the last row seen.
func page[T any](rows []T, key func(T) string, p pageParams) (items []T, next string) {
	from := 0
	if p.Cursor != "" {
		from = sort.Search(len(rows), func(i int) bool { return key(rows[i]) > p.Cursor })
	}
	rows = rows[from:]
	if len(rows) <= p.Limit {
		return append([]T{}, rows...), ""
	}
	return append([]T{}, rows[:p.Limit]...), key(rows[p.Limit-1])
}

// keep returns the rows that pass.
func keep[T any](rows []T, pass func(T) bool) []T {
	var kept []T
	for _, row := range rows {
		if pass(row) {
			kept = append(kept, row)
		}
	}
	return kept
}

func sortBy[T any](rows []T, key func(T) string) {
	slices.SortStableFunc(rows, func(a, b T) int { return strings.Compare(key(a), key(b)) })
}
