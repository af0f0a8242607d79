package cluster

import (
	"fmt"
	"strings"
	"time"
)

// deadlines returns when something may have to be done about a peer.
func (c *Core) deadlines(p *peer) []time.Time {
	d := []time.Time{p.nextPing}
	if !p.dialling {
		d = append(d, p.nextDial)
	}
	if p.inquiry != nil {
		d = append(d, p.inquiry.until)
	}
	switch p.state {
	case Unknown:
		if !p.settled {
			d = append(d, c.started.Add(c.cfg.DeadAfter))
		}
	case Alive, Joining:
		d = append(d, latest(p.lastAnswer.Add(c.cfg.SuspectAfter), p.look))
		if !p.behind.IsZero() {
			d = append(d, p.behind.Add(c.cfg.StallAfter))
		}
	case Suspect:
		d = append(d, c.deathOf(p))
	}
	return d
}

// judge does whatever is due for a peer: the one place where time decides.
func (c *Core) judge(now time.Time, p *peer) {
	c.contactDue(now, p)
	if p.inquiry != nil && !now.Before(p.inquiry.until) {
		c.conclude(now, p)
	}
	switch p.state {
	case Unknown:
		if !p.settled && !now.Before(c.started.Add(c.cfg.DeadAfter)) {
			p.settled = true
			c.set(now, p, Dead, "", fmt.Sprintf("never reached since this node started %s ago (%s)", c.cfg.DeadAfter, p.why))
		}
	case Alive, Joining:
		c.judgeLive(now, p)
	case Suspect:
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

// unansweredAt reports whether a peer owes an answer for so long that it is to be
// suspected, unless others reach it.
func (c *Core) unansweredAt(now time.Time, p *peer) bool {
	return !now.Before(p.lastAnswer.Add(c.cfg.SuspectAfter))
}

func (c *Core) judgeLive(now time.Time, p *peer) {
	switch {
	case !p.behind.IsZero() && !p.stalled && !now.Before(p.behind.Add(c.cfg.StallAfter)):
		p.stalled = true
		c.set(now, p, Suspect, MemberSuspected, fmt.Sprintf("stalled: it answers pings but has not advanced beyond %d of %d of our changes for %s",
			p.applied.Seq, c.ours.Seq, c.cfg.StallAfter))
	case c.unansweredAt(now, p):
		p.look = now.Add(c.cfg.PingEvery / 2)
		c.suspect(now, p, c.silence(now, p))
	}
}

// suspect makes a live member a suspect, unless another member reaches it.
func (c *Core) suspect(now time.Time, p *peer, why string) {
	if helper, at := c.helper(now, p); helper != "" {
		p.lastHeard, p.why = latest(p.lastHeard, at), fmt.Sprintf("%s; %s reaches it", why, helper)
		return
	}
	c.set(now, p, Suspect, MemberSuspected, why)
}

func (c *Core) silence(now time.Time, p *peer) string {
	return fmt.Sprintf("no answer for %s, %d pings unanswered, round trip was %s",
		now.Sub(p.lastAnswer).Round(time.Millisecond), p.misses, p.rtt.Round(time.Microsecond))
}

// deathOf is when a suspect is to be declared dead if nothing more is heard.
func (c *Core) deathOf(p *peer) time.Time {
	return latest(p.lastAnswer, p.lastHeard).Add(c.cfg.DeadAfter)
}

func (c *Core) judgeSuspect(now time.Time, p *peer) {
	if helper, _ := c.helper(now, p); helper != "" && !p.stalled {
		c.set(now, p, Alive, MemberRecovered, fmt.Sprintf("%s reaches it (%s)", helper, p.why))
		return
	}
	if !p.stalled && !now.Before(c.deathOf(p)) {
		c.die(now, p, c.silence(now, p)+c.otherViews(now, p))
		return
	}
	if p.stalled && c.unansweredAt(now, p) && !now.Before(c.deathOf(p)) {
		c.die(now, p, c.silence(now, p))
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

// speaks reports whether a member's word on whom it reaches is fresh: it
// answered within SuspectAfter.
func (c *Core) speaks(now time.Time, m *peer) bool {
	return m.connected && m.state == Alive && now.Sub(m.reachedAt) < c.cfg.SuspectAfter
}

// helper names the live member that a peer answered last, and when; "" if none
// reaches it. What is older than a ping's time beyond SuspectAfter does not
// count, nor what was before we lost the connection: the peer may have ended
// since. So a peer that falls silent for all is dead DeadAfter after its last
// answer to anybody, however often the others repeat it.
func (c *Core) helper(now time.Time, p *peer) (helper string, at time.Time) {
	for _, name := range c.names {
		m := c.peers[name]
		if m == p || !c.speaks(now, m) {
			continue
		}
		answered, ok := m.reaches[p.name]
		fresh := now.Sub(answered) < c.cfg.SuspectAfter+c.cfg.PingEvery
		if ok && fresh && answered.After(p.lostAt) && answered.After(at) {
			helper, at = name, answered
		}
	}
	return helper, at
}

// direct reports whether a peer answers our own pings.
func (c *Core) direct(now time.Time, p *peer) bool {
	return p.connected && (p.state == Alive || p.state == Joining || p.stalled) && !c.unansweredAt(now, p)
}

func (c *Core) reach(now time.Time, p *peer) Reach {
	if c.direct(now, p) {
		return ReachDirect
	}
	if p.state != Alive {
		return ReachNone
	}
	if helper, _ := c.helper(now, p); helper != "" {
		return via(helper)
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

// doubtSelf moves the deadlines by as long as this node was kept from running:
// answers may have come and not been read. What is moved in all between two
// answers is capped by DeadAfter, so that a node that is always late still
// detects.
func (c *Core) doubtSelf(late time.Duration) {
	if late <= 0 {
		return
	}
	for _, p := range c.peers {
		by := min(late, c.cfg.DeadAfter-p.doubt)
		p.doubt += by
		p.lastAnswer = p.lastAnswer.Add(by)
		p.lastHeard = p.lastHeard.Add(by)
		p.reachedAt = p.reachedAt.Add(by)
		for name, at := range p.reaches {
			p.reaches[name] = at.Add(by)
		}
		if !p.behind.IsZero() {
			p.behind = p.behind.Add(by)
		}
		if p.inquiry != nil {
			p.inquiry.until = p.inquiry.until.Add(min(late, c.cfg.AskTimeout))
		}
	}
}
