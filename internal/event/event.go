package event

import (
	"encoding/json"
	"time"
)

// Types that the log itself knows.
const (
	Gap     = "Gap"     // stands for events that were missed
	Message = "Message" // was published to the topic that is its subject
)

// Event is something that happened, in the past tense.
type Event struct {
	// ID is the event's place in the log it is read from: node, incarnation
	// and number. It grows from event to event of one log.
	ID string `json:"id"`
	// Time is the origin's clock, UTC, in microseconds.
	Time time.Time `json:"time"`
	// Node is the origin: the node that saw it.
	Node string `json:"node"`
	// Incarnation and Seq tell the event from all others of the origin; Seq is
	// 0 for what only the origin's own log shows.
	Incarnation uint64          `json:"incarnation"`
	Seq         uint64          `json:"seq,omitempty"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"` // the node, sandbox, process, name or topic it is about
	Data        json.RawMessage `json:"data,omitempty"`
	Why         string          `json:"why,omitempty"`
}

// Filter picks events; its zero value picks all.
type Filter struct {
	Types   []string
	Subject string
}

func (f Filter) picks(e *Event) bool {
	if e.Type == Gap {
		return true
	}
	if f.Subject != "" && f.Subject != e.Subject {
		return false
	}
	for _, t := range f.Types {
		if t == e.Type {
			return true
		}
	}
	return len(f.Types) == 0
}

// Page is a part of a log.
type Page struct {
	Events []Event
	// Next is where to go on: behind everything that was looked at.
	Next string
}
