package memdb

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// Limits of a claim.
const (
	maxNameBytes = 255
	// MaxValueBytes bounds a value, in bytes of JSON.
	MaxValueBytes = 64 << 10
	// MaxValueDepth is how deep a value may nest. encoding/json reads 10,000
	// levels, and what is stored travels inside of messages: a value near that
	// could be taken here and read by no peer.
	MaxValueDepth = 512
)

// ReservedPrefix begins the names that only Glassbox itself claims. No other name
// has a control character, so nobody can ask for one of them.
const ReservedPrefix = "\x7f"

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

// ValueFault says what is wrong with a value that somebody gives to a name; "" if
// nothing is.
func ValueFault(value json.RawMessage) string {
	if len(value) > 0 && len(value) <= MaxValueBytes && !json.Valid(value) {
		return "a value is JSON, and this is not"
	}
	return valueLimits(value)
}

// valueLimits is ValueFault for what is known to be JSON.
func valueLimits(value json.RawMessage) string {
	switch {
	case len(value) > MaxValueBytes:
		return fmt.Sprintf("a value has at most %d bytes of JSON, not %d", MaxValueBytes, len(value))
	case len(value) > 2*MaxValueDepth && jsontext.Depth(value) > MaxValueDepth: // each level has two brackets
		return fmt.Sprintf("nested deeper than %d levels; make it flatter", MaxValueDepth)
	}
	return ""
}

// check says what is wrong with a claim whose value is JSON: nobody else could
// have registered it, or its stamp would push all clocks far ahead.
func (c *Claim) check() error {
	fault := NameFault(strings.TrimPrefix(c.Name, ReservedPrefix))
	if fault == "" {
		fault = valueLimits(c.Value)
	}
	if fault == "" && c.Stamp > maxStamp {
		fault = fmt.Sprintf("it is from the year %d", c.Registered().Year())
	}
	if fault != "" {
		return errs.New(errs.BadParameter, "the claim to %q of node %s: %s", c.Name, c.Node, fault)
	}
	return nil
}
