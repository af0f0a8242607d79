package registry

import (
	"encoding/json"
	"strings"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Limits of a claim.
const (
	MaxValueBytes = 64 << 10
	// MaxValueDepth is how deep a value may nest. encoding/json reads 10,000
	// levels, and what is stored travels inside of messages: a value near that
	// could be taken here and read by no peer.
	MaxValueDepth = 512
)

// reserved begins the names that only Glassbox itself claims. No other name has a
// control character, so nobody can ask for one of them.
const (
	reserved    = "\x7f"
	sandboxName = reserved + "sandbox/"
)

// SandboxName is the name by which the node that runs a sandbox holds its id.
func SandboxName(id string) string { return sandboxName + id }

// SandboxOf returns the id that a name of [SandboxName] is for.
func SandboxOf(name string) (id string, ok bool) { return strings.CutPrefix(name, sandboxName) }

// Reserved reports whether a name is one of those that are not shown.
func Reserved(name string) bool { return strings.HasPrefix(name, reserved) }

// ValidName says what is wrong with a name; the error names the field.
func ValidName(field, name string) error {
	if fault := memdb.NameFault(name); fault != "" {
		return errs.BadParam(field, "%s", fault)
	}
	return nil
}

// ValidValue says what is wrong with a value; the error names the field.
func ValidValue(field string, value json.RawMessage) error {
	switch {
	case len(value) > MaxValueBytes:
		return errs.BadParam(field, "a value has at most %d bytes of JSON, not %d", MaxValueBytes, len(value))
	case len(value) > 0 && !json.Valid(value):
		return errs.BadParam(field, "a value is JSON, and this is not")
	case jsontext.Depth(value) > MaxValueDepth:
		return errs.BadParam(field, "nested deeper than %d levels; make it flatter", MaxValueDepth)
	}
	return nil
}
