package registry

import (
	"encoding/json"
	"strings"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

const sandboxName = memdb.ReservedPrefix + "sandbox/"

// SandboxName is the name by which the node that runs a sandbox holds its id.
func SandboxName(id string) string { return sandboxName + id }

// SandboxOf returns the id that a name of [SandboxName] is for.
func SandboxOf(name string) (id string, ok bool) { return strings.CutPrefix(name, sandboxName) }

// Reserved reports whether a name is one of those that are not shown.
func Reserved(name string) bool { return strings.HasPrefix(name, memdb.ReservedPrefix) }

// ValidName says what is wrong with a name; the error names the field.
func ValidName(field, name string) error {
	if fault := memdb.NameFault(name); fault != "" {
		return errs.BadParam(field, "%s", fault)
	}
	return nil
}

// ValidValue says what is wrong with a value; the error names the field.
func ValidValue(field string, value json.RawMessage) error {
	if fault := memdb.ValueFault(value); fault != "" {
		return errs.BadParam(field, "%s", fault)
	}
	return nil
}
