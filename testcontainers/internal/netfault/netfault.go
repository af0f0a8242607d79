// Package netfault breaks the network of a container from inside its network
// namespace, by rules of nftables. The program testcontainers/netfault runs it
// in a container of its own, which has the right to do so and shares the node's
// network.
//
// It is told on its standard input, one line of JSON for each change: all rules
// that are to be in force from now on. It answers each with a line of JSON, the
// string "" when they are in force, otherwise what went wrong. When its input
// ends it ends too; the rules stay for as long as the node's network does.
package netfault

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
)

// Rule loses what passes between the container and a peer.
type Rule struct {
	Peer netip.Addr `json:"peer"` // of IPv4
	// In and Out are the ways that are broken: from the peer, and to it.
	In  bool `json:"in,omitempty"`
	Out bool `json:"out,omitempty"`
	// Loss is the share of packets that is lost, between 0 and 1; 0 is all.
	Loss float64 `json:"loss,omitempty"`
}

// Serve puts the rules that it reads from in into force by apply, and answers
// on out, until in ends.
func Serve(in io.Reader, out io.Writer, apply func([]Rule) error) error {
	questions, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var rules []Rule
		if err := questions.Decode(&rules); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		problem := ""
		if err := apply(rules); err != nil {
			problem = err.Error()
		}
		if err := answers.Encode(problem); err != nil {
			return err
		}
	}
}
