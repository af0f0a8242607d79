// Package alarm keeps when a pure core wants to be told the time.
package alarm

import "time"

// Alarm is the earliest of the times that were asked for. The zero value is none.
type Alarm struct{ at time.Time }

// Ask asks for a time; the zero time is none.
func (a *Alarm) Ask(at time.Time) {
	if !at.IsZero() && (a.at.IsZero() || at.Before(a.at)) {
		a.at = at
	}
}

// AskAfter asks for a time that is yet to come. What is past and not done waits
// for an answer: to be woken until that is there would be a loop without pause.
func (a *Alarm) AskAfter(now, at time.Time) {
	if at.After(now) {
		a.Ask(at)
	}
}

// Rings reports whether it is time, and if so forgets what was asked for.
func (a *Alarm) Rings(now time.Time) bool {
	if a.at.IsZero() || now.Before(a.at) {
		return false
	}
	*a = Alarm{}
	return true
}

// At is the earliest time; zero if none was asked for.
func (a *Alarm) At() time.Time { return a.at }
