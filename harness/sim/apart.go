package sim

import (
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
)

// apart tells when a node does not wait for another one, by what it was told of it: it
// takes it for dead, gone or not joined yet, or has suspected it for so long that it
// would have been judged, had it not answered pings.
type apart struct {
	still     bool
	until     time.Time // when it last was over
	suspected time.Time // since when; zero: it is not
}

// told takes an event about the other node.
func (a apart) told(event cluster.EventType, now time.Time, deadAfter time.Duration) apart {
	switch event {
	case cluster.MemberFailed, cluster.MemberLeft:
		return apart{still: true}
	case cluster.MemberSuspected:
		a.suspected = now
		return a
	}
	if a.at(now, now, deadAfter) {
		a.until = now
	}
	return apart{until: a.until}
}

// at reports whether it was so at any time since.
func (a apart) at(now, since time.Time, deadAfter time.Duration) bool {
	return a.still || !a.until.Before(since) || !a.suspected.IsZero() && now.Sub(a.suspected) >= deadAfter
}
