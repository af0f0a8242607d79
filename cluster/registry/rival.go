package registry

import (
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/sabotage"
	"github.com/glassbox-dev/glassbox/memdb"
)

// rival is another node that may hold a name which this one claims, or wants
// to. Nothing is refused on hearsay: its node is asked.
type rival struct {
	node   string
	asking bool
	after  time.Time      // when to ask again; zero: at once
	until  memdb.Position // where it was when it told that it has no claim; zero: it did not
	err    error          // why it could not be asked
	worse  bool           // it has told a claim that is worse than ours
	leaves bool           // it has given the name up, and not all know it yet
	// reported says that a third has told of its claim.
	reported bool
}

// moved takes what has come from the rival: it may have settled.
func (r *rival) moved(a memdb.Applied) {
	if a.Rose || a.Position.Covers(r.until) {
		r.after = time.Time{}
	}
}

// beaten takes a peer's word that another one has a better claim than ours.
func (c *Core) beaten(now time.Time, report memdb.Rival) {
	if report.Node == c.cfg.Self {
		return
	}
	if _, ok := c.cfg.DB.View().Claim(report.Name, c.cfg.Self); !ok {
		return // it was withdrawn meanwhile
	}
	s := c.slot(report.Name)
	r := s.rival(report.Node)
	r.worse, r.reported = false, true
	c.judge(now, s)
}

// rival returns what is known of a rival, and makes it one.
func (s *slot) rival(node string) *rival {
	r := s.rivals[node]
	if r == nil {
		r = &rival{node: node}
		if s.rivals == nil {
			s.rivals = map[string]*rival{}
		}
		s.rivals[node] = r
		s.c.contested[s.name] = s
	}
	return r
}

func (s *slot) forget(node string) {
	delete(s.rivals, node)
	if len(s.rivals) == 0 {
		delete(s.c.contested, s.name)
	}
}

// blocked reports whether a rival may yet turn out to be the holder.
func (s *slot) blocked() bool {
	for _, r := range s.rivals {
		if !r.worse {
			return true
		}
	}
	return false
}

// contest finds and asks the rivals of a name. With an own claim they are those
// whose claim is better, without one they are all.
func (s *slot) contest(now time.Time, own *memdb.Claimed) {
	var visible map[string]bool
	for _, theirs := range s.c.cfg.DB.View().Claimants(s.name, s.c.cfg.Self) {
		if visible == nil {
			visible = map[string]bool{}
		}
		visible[theirs.Node] = true
		if own == nil || memdb.Better(theirs, *own) {
			s.rival(theirs.Node).worse = false
		}
	}
	if own != nil && len(visible) > 0 {
		s.c.shared[s.name] = true
	} else {
		delete(s.c.shared, s.name)
	}
	if len(s.rivals) == 0 {
		return
	}
	for _, node := range sorted(s.rivals) {
		r := s.rivals[node]
		switch {
		case !visible[node] && (r.worse || s.over(r)), r.worse && own == nil:
			s.forget(node)
		case r.asking, r.worse:
		case now.Before(r.after):
			s.c.next.Ask(r.after)
		case sabotage.Breaks("refuse on hearsay") && own == nil && s.refuseUnasked(node):
			return
		case sabotage.Breaks("withdraw before the winner confirms") && own != nil && s.loseUnasked(node, *own):
			return
		default:
			r.asking = true
			round := s.round
			s.c.ask(node, s.name, func(now time.Time, t *Told, err error) {
				if s.rivals[node] == r && s.round == round {
					s.heard(now, r, t, err)
				}
			})
		}
	}
}

// over reports whether a rival of which no claim is visible here is none.
func (s *slot) over(r *rival) bool {
	switch {
	case !s.c.isAwaited(r.node):
		if r.reported {
			s.unreachable = errs.New(errs.NodeUnavailable, "node %s may hold the name %q and cannot be asked", r.node, s.name)
		}
		return true
	case r.leaves || r.until == (memdb.Position{}):
		// Its row may have gone from here and not from others: it must say itself that
		// all know.
		return false
	default:
		return s.c.cfg.DB.Position(r.node).Covers(r.until)
	}
}

// heard takes what a rival says.
func (s *slot) heard(now time.Time, r *rival, t *Told, err error) {
	r.asking, r.err = false, err
	r.after = now.Add(askAgain)
	s.c.next.Ask(r.after)
	if err == nil {
		s.told(now, r, *t)
	}
	s.c.judge(now, s)
}

func (s *slot) told(now time.Time, r *rival, t Told) {
	r.leaves = t.Leaving
	if r.leaves {
		r.after = now.Add(leavesSoon)
		s.c.next.Ask(r.after)
		return
	}
	r.until = memdb.Position{}
	own, has := s.c.cfg.DB.View().Claim(s.name, s.c.cfg.Self)
	switch {
	case t.Claim == nil: // its row will go from here when its changes have come
		r.until = t.Position
	case has && !memdb.Better(memdb.Claimed{Claim: *t.Claim, Confirmed: t.Confirmed}, own):
		r.worse = true
	case !t.Confirmed:
	case has:
		s.lose(own, *t.Claim)
	default:
		s.refuse(*t.Claim)
	}
}
