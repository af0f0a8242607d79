package registry

import "github.com/glassbox-dev/glassbox/memdb"

// What a build with the tag "sabotage" does wrong on purpose; see package
// internal/sabotage.

// refuseUnasked refuses a request for a name that a node only seems to hold.
func (s *slot) refuseUnasked(node string) bool {
	theirs, ok := s.c.cfg.DB.View().Claim(s.name, node)
	if ok && len(s.queue) > 0 {
		s.refuse(theirs.Claim)
	}
	return ok
}

// loseUnasked gives a claim up to one that only seems to be better.
func (s *slot) loseUnasked(node string, own memdb.Claimed) bool {
	theirs, ok := s.c.cfg.DB.View().Claim(s.name, node)
	if ok {
		s.lose(own, theirs.Claim)
	}
	return ok
}
