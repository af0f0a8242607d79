package memdb

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// maxNameBytes bounds a name.
const maxNameBytes = 255

// NameFault says what is wrong with a name that somebody is to hold; "" if nothing
// is.
func NameFault(name string) string {
	switch {
	case name == "":
		return "a name is needed"
	case len(name) > maxNameBytes:
		return fmt.Sprintf("a name has at most %d bytes, not %d", maxNameBytes, len(name))
	case !utf8.ValidString(name):
		return fmt.Sprintf("a name is UTF-8, and %q is not", name)
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Sprintf("a name has no control characters; %q has %U", name, r)
		}
	}
	return ""
}
