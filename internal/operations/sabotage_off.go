//go:build !sabotage

package operations

// sabotage does nothing: only binaries built to try the harness have faults.
func sabotage() error { return nil }
