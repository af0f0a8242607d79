//go:build sabotage

package sabotage

// Rule is the one that is broken; "" is none.
var Rule string

// Breaks reports whether a rule is to be broken.
func Breaks(rule string) bool { return rule == Rule }
