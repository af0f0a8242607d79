package fault

import (
	"time"
)

// Kind is what a fault does.
type Kind string

// The kinds.
const (
	Cut   Kind = "cut"   // nothing passes
	Delay Kind = "delay" // everything passes later
)

// Direction is seen from the node that has the fault.
type Direction string

// The directions.
const (
	In   Direction = "in"   // what comes from the peer
	Out  Direction = "out"  // what goes to the peer
	Both Direction = "both" // one and the other
)

// Rule is one fault in force.
type Rule struct {
	ID        string    `json:"id"`
	Kind      Kind      `json:"kind"`
	Peer      string    `json:"peer"`
	Direction Direction `json:"direction"`
	DelayMS   int64     `json:"delay_ms,omitempty"` // of a delay, each way it applies to
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until"` // when it heals by itself
}

// touches reports whether the rule is about what goes one way (In or Out) to or
// from a peer.
func (r Rule) touches(peer string, way Direction) bool {
	return r.Peer == peer && (r.Direction == way || r.Direction == Both)
}

// effect is what all rules together do to one way.
type effect struct {
	cut   bool
	delay time.Duration
}

// effectOf adds up the rules: one cut is enough, delays add.
func effectOf(rules []Rule, peer string, way Direction) effect {
	var e effect
	for _, r := range rules {
		switch {
		case !r.touches(peer, way):
		case r.Kind == Cut:
			e.cut = true
		case r.Kind == Delay:
			e.delay += time.Duration(r.DelayMS) * time.Millisecond
		}
	}
	return e
}
