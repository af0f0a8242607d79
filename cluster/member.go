package cluster

import (
	"strings"
	"time"
)

// State is what one node thinks of another.
type State string

// The states. Only the first is never returned to.
const (
	Unknown State = "unknown" // configured, never reached
	Joining State = "joining" // reached, not caught up yet
	Alive   State = "alive"
	Suspect State = "suspect" // may have failed, or does not keep up
	Dead    State = "dead"
	Left    State = "left" // said goodbye
)

// Reach is how a node gets to another: "direct", "via n3" or "none".
type Reach string

// The reaches that name nobody.
const (
	ReachDirect Reach = "direct"
	ReachNone   Reach = "none"
)

const viaPrefix = "via "

func via(node string) Reach { return Reach(viaPrefix + node) }

// Via returns the node that reaches it for us.
func (r Reach) Via() (node string, ok bool) { return strings.CutPrefix(string(r), viaPrefix) }

// Member is a node as this one sees it.
type Member struct {
	Name        string    `json:"name"`
	State       State     `json:"state"`
	Reach       Reach     `json:"reach"`
	Incarnation uint64    `json:"incarnation"` // the newest known; 0 if none is
	Addr        string    `json:"addr"`        // the address in force
	RTTUS       int64     `json:"rtt_us"`      // newest ping's round trip
	Since       time.Time `json:"since"`       // of the state
	Why         string    `json:"why"`         // of the state
	Self        bool      `json:"self,omitempty"`
}

// EventType names a change of a member's state.
type EventType string

// The types.
const (
	MemberJoined    EventType = "MemberJoined"
	MemberSuspected EventType = "MemberSuspected"
	MemberRecovered EventType = "MemberRecovered"
	MemberFailed    EventType = "MemberFailed"
	MemberLeft      EventType = "MemberLeft"
)

// EventTypes lists all types.
func EventTypes() []EventType {
	return []EventType{MemberJoined, MemberSuspected, MemberRecovered, MemberFailed, MemberLeft}
}

// Event is a change of a member's state, as this node saw it.
type Event struct {
	Time        time.Time
	Type        EventType
	Member      string
	Incarnation uint64
	Why         string
}
