package sandbox

import (
	"fmt"
	"strconv"
	"strings"
)

// A pid is <node>.<incarnation>.<n>, both numbers in base 36: the n-th process
// of one start of a node. No incarnation is used twice and no n within it, so a
// pid never means another process, not even on a reborn node.

// formatPID makes a pid.
func formatPID(node string, incarnation, n uint64) string {
	return fmt.Sprintf("%s.%s.%s", node, strconv.FormatUint(incarnation, 36), strconv.FormatUint(n, 36))
}

// NodeOfPID returns the node a pid belongs to, so that a request can be sent
// there. It is false for text that is no pid; whether the process exists only
// its node knows.
func NodeOfPID(pid string) (node string, ok bool) {
	rest, ok := cutNumber(pid)
	if !ok {
		return "", false
	}
	node, ok = cutNumber(rest)
	return node, ok && node != ""
}

// cutNumber cuts ".<number in base 36>" from the end.
func cutNumber(text string) (rest string, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return "", false
	}
	digits := text[i+1:]
	_, err := strconv.ParseUint(digits, 36, 64)
	return text[:i], err == nil && digits == strings.ToLower(digits) && digits[0] != '+'
}
