package registry

import (
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/sabotage"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Lookup asks who holds a name.
type Lookup struct {
	ID   uint64
	Name string
	// Consistent asks all members for their own claims, instead of trusting what
	// has come from them.
	Consistent bool
	Deadline   time.Time
}

// lookup is one under way.
type lookup struct {
	Lookup
	c        *Core
	asking   map[string]bool
	told     map[string]Told
	failed   map[string]error
	askAfter time.Time // of those who have failed, or are not settled
}

// Lookup begins a request.
func (c *Core) Lookup(now time.Time, in Lookup) {
	c.flush(now)
	l := &lookup{Lookup: in, c: c, asking: map[string]bool{}, told: map[string]Told{}, failed: map[string]error{}}
	c.lookups[in.ID] = l
	c.next.Ask(in.Deadline)
	l.judge(now)
}

func (l *lookup) end(d Done) {
	delete(l.c.lookups, l.ID)
	d.ID = l.ID
	l.c.done(d)
}

func (l *lookup) judge(now time.Time) {
	switch {
	case l.c.lookups[l.ID] != l:
		return
	case !now.Before(l.Deadline):
		l.end(Done{Err: l.late()})
	case l.Consistent:
		l.askAll(now)
	default:
		l.askHolder(now)
	}
}

func (l *lookup) late() error {
	for _, node := range sorted(l.failed) {
		return errs.Wrap(errs.NodeUnavailable, l.failed[node], "node %s may hold the name %q and cannot be asked", node, l.Name)
	}
	return errs.New(errs.Timeout, "the name %q was not settled in time; look again", l.Name)
}

// askHolder finds the best of the claims that are visible here. While that is
// not known to be confirmed its holder is asked: what is not confirmed has not
// happened yet.
func (l *lookup) askHolder(now time.Time) {
	view := l.c.cfg.DB.View()
	var best memdb.Claimed
	found := false
	consider := func(one memdb.Claimed) {
		if !found || memdb.Better(one, best) {
			best, found = one, true
		}
	}
	if own, ok := view.Claim(l.Name, l.c.cfg.Self); ok && own.Confirmed {
		consider(own)
	}
	for _, theirs := range view.Claimants(l.Name, l.c.cfg.Self) {
		t, told := l.told[theirs.Node]
		switch {
		case theirs.Confirmed:
			consider(theirs)
		case !told:
			consider(theirs)
		case t.Claim == nil:
			// Its changes are on their way here. To leave it out now and meet it
			// again later would be to go back in time.
			if !l.c.cfg.DB.Position(theirs.Node).Covers(t.Position) {
				return
			}
			delete(l.told, theirs.Node) // this one is newer than what it told
			consider(theirs)
		case !t.Confirmed:
			// What is not confirmed has not happened yet.
		case t.Claim.Stamp == theirs.Stamp:
			// Of a claim that is confirmed the row here is shown, even if its holder
			// has given it another value since: that is still on its way, and a later
			// lookup here would show the former one again.
			consider(memdb.Claimed{Claim: theirs.Claim, Confirmed: true})
		case !l.c.cfg.DB.Position(theirs.Node).Covers(t.Position):
			return // another claim of the same node, which is on its way
		default:
			delete(l.told, theirs.Node)
			consider(theirs)
		}
	}
	switch {
	case !found:
		l.end(Done{Err: NotRegistered(l.Name)})
	case best.Confirmed || sabotage.Breaks("trust what is not confirmed"):
		l.end(Done{Claim: best.Claim})
	default:
		l.ask(now, best.Node)
	}
}

// askAll ends with the best of the confirmed claims that their nodes have told
// themselves.
func (l *lookup) askAll(now time.Time) {
	var best memdb.Claimed
	found, whole := false, true
	consider := func(t Told) {
		if t.Claim == nil || !t.Confirmed {
			return
		}
		if one := (memdb.Claimed{Claim: *t.Claim, Confirmed: true}); !found || memdb.Better(one, best) {
			best, found = one, true
		}
	}
	for _, node := range l.c.awaited {
		t, told := l.told[node]
		if !told {
			whole = false
			l.ask(now, node)
		}
		consider(t)
	}
	if !whole {
		return
	}
	consider(l.c.tell(l.Name))
	if !found {
		l.end(Done{Err: NotRegistered(l.Name)})
		return
	}
	l.end(Done{Claim: best.Claim})
}

func (l *lookup) ask(now time.Time, node string) {
	switch {
	case l.asking[node]:
		return
	case l.failed[node] != nil && now.Before(l.askAfter):
		l.c.next.Ask(l.askAfter)
		return
	}
	l.asking[node] = true
	l.c.ask(node, l.Name, func(now time.Time, t *Told, err error) {
		delete(l.asking, node)
		if err != nil {
			l.failed[node], l.askAfter = err, now.Add(askAgain)
			l.c.next.Ask(l.askAfter)
		} else {
			delete(l.failed, node)
			l.told[node] = *t
		}
		l.judge(now)
	})
}

// waits reports whether what has come from an origin may end the lookup.
func (l *lookup) waits(origin string, a memdb.Applied) bool {
	t, told := l.told[origin]
	return !l.Consistent && told && a.Position.Covers(t.Position)
}

// wants is when the lookup is to be judged again.
func (l *lookup) wants(now time.Time) time.Time {
	if len(l.failed) > 0 && l.askAfter.After(now) && l.askAfter.Before(l.Deadline) {
		return l.askAfter
	}
	return l.Deadline
}

// NotRegistered is the error for a name that nobody holds.
func NotRegistered(name string) error {
	return errs.New(errs.NotFound, "nobody holds the name %q", name)
}
