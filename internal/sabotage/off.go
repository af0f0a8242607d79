//go:build !sabotage

// Package sabotage breaks one rule of the protocols at a time, to see that the
// checkers of the simulator notice. Only a build with the tag "sabotage" can; in
// all others Breaks is a constant that the compiler leaves out.
package sabotage

// Breaks reports whether a rule is to be broken: never.
func Breaks(string) bool { return false }
