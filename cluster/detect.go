package cluster

import (
	"fmt"
	"strings"
	"time"
)

// deadlines tells when something may have to be done about a peer.
func (c *Core) deadlines(p *peer, due func(time.Time)) {
	if p.connected {
		due(p.nextPing)
	}
	if !p.dialling {
		due(p.nextDial)
	}
	if p.inquiry != nil {
		due(p.inquiry.until)
	}
	switch p.state {
	case Unknown:
		due(c.givenUpAt(p))
	case Alive, Joining:
		due(latest(c.suspectAt(p), p.look))
		if !p.behind.IsZero() {
			due(p.behind.Add(c.cfg.StallAfter))
		}
	case Suspect:
		if p.stalled {
			due(c.suspectAt(p))
		} else {
			due(c.deathOf(p))
		}
	}
}

// givenUpAt is when a peer that was never reached is judged dead.
func (c *Core) givenUpAt(p *peer) time.Time { return c.started.Add(c.cfg.DeadAfter + p.doubt()) }

// suspectAt is when a peer owes an answer for so long that it is to be
// suspected, unless others reach it.
func (c *Core) suspectAt(p *peer) time.Time { return p.lastAnswer.Add(c.cfg.SuspectAfter + p.doubt()) }

func (c *Core) unanswered(now time.Time, p *peer) bool { return !now.Before(c.suspectAt(p)) }

// deathOf is when a suspect is to be declared dead if nothing more is heard:
// DeadAfter after its last answer to anybody. Bytes of a message that has not
// ended postpone that, since answers may be queued behind it; but by DeadAfter at
// most, since a process that only talks is as good as dead.
func (c *Core) deathOf(p *peer) time.Time {
	heard := earliest(latest(p.lastReached, p.lastHeard), p.lastReached.Add(c.cfg.DeadAfter))
	return heard.Add(c.cfg.DeadAfter + p.doubt())
}

// judge does whatever is due for a peer: the one place where time decides.
func (c *Core) judge(now time.Time, p *peer) {
	if p.inquiry != nil && !now.Before(p.inquiry.until) {
		c.conclude(now, p)
	}
	switch p.state {
	case Unknown:
		if !now.Before(c.givenUpAt(p)) {
			p.settled = true
			c.set(now, p, Dead, "", fmt.Sprintf("never reached since this node started %s ago (%s)", now.Sub(c.started).Round(time.Millisecond), p.why))
		}
	case Alive, Joining:
		c.judgeLive(now, p)
	}
	if p.state == Suspect {
		c.judgeSuspect(now, p)
	}
}

// contactDue dials and pings when it is time to.
func (c *Core) contactDue(now time.Time, p *peer) {
	if !p.dialling && !p.nextDial.IsZero() && !now.Before(p.nextDial) {
		p.dialling, p.nextDial = true, time.Time{}
		addrs := []string{p.seed}
		if p.addr != "" && p.addr != p.seed {
			addrs = []string{p.addr, p.seed}
		}
		c.emit(Dial{p.name, addrs})
	}
	if p.connected && !p.nextPing.IsZero() && !now.Before(p.nextPing) {
		p.nextPing = now.Add(c.cfg.PingEvery)
		p.misses++
		c.emit(Ping{p.name, p.stalled})
	}
}

func (c *Core) judgeLive(now time.Time, p *peer) {
	switch {
	case !c.unanswered(now, p):
		c.judgeStalled(now, p)
	case !now.Before(p.look):
		p.look = now.Add(c.cfg.PingEvery / 2)
		p.behind = time.Time{} // who does not answer cannot say how far it is
		c.suspect(now, p, c.silence(now, p))
		c.giveUpConnection(now, p)
	}
}

// giveUpConnection closes a connection on which a member says nothing that lives
// on because others reach it: what was lost on it TCP sends again later and later,
// while a new one works as soon as the network does.
func (c *Core) giveUpConnection(now time.Time, p *peer) {
	if !p.indirect || !p.connected || now.Before(p.lastAnswer.Add(c.cfg.DeadAfter+p.doubt())) {
		return
	}
	p.connected, p.dialled, p.nextPing = false, false, time.Time{}
	c.emit(Drop{p.name, "another one is tried: " + c.silence(now, p)})
	if !p.dialling {
		p.nextDial = now.Add(c.jitter(p.backoff))
	}
}

func (c *Core) judgeStalled(now time.Time, p *peer) {
	if p.behind.IsZero() || now.Before(p.behind.Add(c.cfg.StallAfter)) {
		return
	}
	p.stalled = true
	c.set(now, p, Suspect, MemberSuspected, fmt.Sprintf("stalled: it answers pings but has not advanced beyond %d of %d of our changes for %s",
		p.applied.Seq, c.ours.Seq, c.cfg.StallAfter))
}

// suspect makes a live member a suspect, unless another member reaches it.
func (c *Core) suspect(now time.Time, p *peer, why string) {
	if helper, at := c.helper(now, p); helper != "" {
		p.lastReached = latest(p.lastReached, at)
		p.indirect, p.why = true, fmt.Sprintf("%s reaches it (%s)", helper, why)
		return
	}
	c.set(now, p, Suspect, MemberSuspected, why)
}

// vouch revives a suspect that another member reaches.
func (c *Core) vouch(now time.Time, p *peer) {
	if p.state != Suspect || p.stalled {
		return
	}
	helper, at := c.helper(now, p)
	if helper == "" {
		return
	}
	p.lastReached = latest(p.lastReached, at)
	p.look = now.Add(c.cfg.PingEvery / 2)
	c.live(now, p, helper+" reaches it")
	p.indirect = true
}

func (c *Core) silence(now time.Time, p *peer) string {
	return fmt.Sprintf("no answer for %s, %d pings unanswered, round trip was %s",
		now.Sub(p.lastAnswer).Round(time.Millisecond), p.misses, p.rtt.Round(time.Microsecond))
}

func (c *Core) judgeSuspect(now time.Time, p *peer) {
	if p.stalled {
		if !c.unanswered(now, p) {
			return
		}
		p.stalled, p.behind, p.why = false, time.Time{}, c.silence(now, p) // now it is silent as well
		c.vouch(now, p)
	}
	if p.state == Suspect && !now.Before(c.deathOf(p)) {
		c.die(now, p, c.silence(now, p)+c.otherViews(now, p))
	}
}

func (c *Core) die(now time.Time, p *peer, why string) {
	p.inquiry, p.connected, p.dialled, p.nextPing = nil, false, false, time.Time{}
	p.stalled, p.behind = false, time.Time{}
	c.set(now, p, Dead, MemberFailed, why)
	c.emit(Drop{p.name, "declared dead: " + why})
	if !p.dialling && p.nextDial.IsZero() {
		p.nextDial = now.Add(c.jitter(p.backoff))
	}
}

// otherViews says what the others said of a peer.
func (c *Core) otherViews(now time.Time, p *peer) string {
	var said []string
	for _, name := range c.names {
		if m := c.peers[name]; m != p && c.speaks(now, m) {
			said = append(said, name)
		}
	}
	if len(said) == 0 {
		return "; nobody else to ask"
	}
	return "; not reached by " + strings.Join(said, ", ") + " either"
}

// speaks reports whether a member's word on whom it reaches is fresh.
func (c *Core) speaks(now time.Time, m *peer) bool {
	return c.direct(now, m) && now.Sub(m.reachedAt) < c.cfg.SuspectAfter+m.doubt()
}

// helper names the live member that a peer answered last, and when; "" if none
// reaches it. What is older than a ping's time beyond SuspectAfter does not
// count, nor what was before we lost the connection: the peer may have ended
// since. So a peer that falls silent for all is dead DeadAfter after its last
// answer to anybody, however often the others repeat it.
func (c *Core) helper(now time.Time, p *peer) (helper string, at time.Time) {
	old := min(c.cfg.SuspectAfter+c.cfg.PingEvery, c.cfg.DeadAfter)
	for _, name := range c.names {
		m := c.peers[name]
		if m == p || !c.speaks(now, m) {
			continue
		}
		answered, ok := m.reaches[p.name]
		fresh := now.Sub(answered) < old+m.doubt()
		if ok && fresh && answered.After(p.lostAt) && answered.After(at) {
			helper, at = name, answered
		}
	}
	return helper, at
}

// direct reports whether a peer answers our own pings.
func (c *Core) direct(now time.Time, p *peer) bool {
	return p.connected && (p.state == Alive || p.state == Joining || p.stalled) && !c.unanswered(now, p)
}

func (c *Core) reach(now time.Time, p *peer) Reach {
	if c.direct(now, p) {
		return ReachDirect
	}
	if p.state != Alive && p.state != Joining {
		return ReachNone
	}
	if helper, _ := c.helper(now, p); helper != "" {
		return via(helper)
	}
	return ReachNone
}

// ReachOf tells how this node gets to another one.
func (c *Core) ReachOf(now time.Time, node string) Reach {
	if p := c.peers[node]; p != nil {
		return c.reach(now, p)
	}
	return ReachNone
}

// Reaches tells whom this node reaches directly, and how many microseconds ago
// each answered.
func (c *Core) Reaches(now time.Time) map[string]int64 {
	reach := map[string]int64{}
	for _, name := range c.names {
		if p := c.peers[name]; c.direct(now, p) {
			reach[name] = max(0, now.Sub(p.lastAnswer).Microseconds())
		}
	}
	return reach
}

// doubt is how far a peer's deadlines are moved.
func (p *peer) doubt() time.Duration { return p.longest + p.others }

// doubtSelf moves the deadlines by as long as this node was kept from running:
// answers may have come and not been read. A pause before the newest answer is
// none to be minded. Of those after it the longest counts in full: at its end
// nobody could have been heard. All others together are capped by DeadAfter, so
// that a node that is always late still detects.
//
// The deadlines are moved, not what they are counted from: that is told to
// others, and to tell it younger than it is would postpone their deadlines too.
func (c *Core) doubtSelf(now time.Time, late time.Duration) {
	if late <= 0 {
		return
	}
	for _, p := range c.peers {
		by := max(0, min(late, now.Sub(p.lastAnswer)))
		p.longest, by = max(p.longest, by), min(p.longest, by)
		p.others = min(p.others+by, c.cfg.DeadAfter)
		if !p.behind.IsZero() {
			p.behind = earliest(now, p.behind.Add(late))
		}
		if q := p.inquiry; q != nil {
			more := min(late, c.cfg.AskTimeout-q.doubt)
			q.until, q.doubt = q.until.Add(more), q.doubt+more
		}
	}
}
