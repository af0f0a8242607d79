package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/internal/sabotage"
)

// inquiry is a question to the others about a peer that refused a connection.
// A refusal alone is no death: a firewall refuses too.
type inquiry struct {
	why    string
	asked  []string
	until  time.Time
	said   map[string]Verdict
	second bool          // nobody was there to ask: a second refusal decides
	doubt  time.Duration // how far until was moved, for our own pauses
}

// refused takes a refused dial to a suspect whose connection was lost. While
// there is one, the refusal is no news: it may be a firewall's that has always
// been there.
func (c *Core) refused(now time.Time, p *peer, why string) {
	again := p.inquiry != nil && p.inquiry.second
	if p.state != Suspect || p.connected || p.inquiry != nil && !again {
		return
	}
	if sabotage.Breaks("take a refusal for a death") {
		c.die(now, p, why)
		return
	}
	q := &inquiry{why: why, asked: c.askable(now, p), said: map[string]Verdict{}, until: now.Add(c.cfg.AskTimeout)}
	switch {
	case len(q.asked) > 0:
		p.inquiry = q
		c.emit(Ask{q.asked, p.name})
	case p.contradicted():
	case again:
		c.die(now, p, fmt.Sprintf("connection lost, then refused twice (%s); nobody else to ask", why))
	default:
		q.second = true
		q.until = now.Add(c.cfg.DeadAfter) // judged by silence before that
		p.inquiry, p.nextDial = q, now.Add(c.cfg.SecondRefusal)
	}
}

// contradicted reports whether somebody reached the peer after we lost it: then
// our dials are refused by a firewall, and say nothing of the peer.
func (p *peer) contradicted() bool { return p.lastReached.After(p.lostAt) }

// askable names the members that can be asked about a peer.
func (c *Core) askable(now time.Time, p *peer) (names []string) {
	for _, name := range c.names {
		if m := c.peers[name]; m != p && c.direct(now, m) {
			names = append(names, name)
		}
	}
	return names
}

// told takes one answer. The first that reaches the peer ends the inquiry: the
// peer lives, and is reached by that member.
func (c *Core) told(now time.Time, p *peer, in Told) {
	q := p.inquiry
	if q == nil || !slices.Contains(q.asked, in.By) {
		return
	}
	q.said[in.By] = in.Verdict
	if in.Verdict == Reached {
		p.inquiry = nil
		c.with(in.By, func(m *peer) {
			if m.reaches == nil {
				m.reaches = map[string]time.Time{}
			}
			m.reaches[p.name], m.reachedAt = now, now
		})
		p.lastReached = now // not an answer to us, but it lives
		return
	}
	if len(q.said) == len(q.asked) {
		c.conclude(now, p)
	}
}

// conclude ends an inquiry in which nobody reached the peer. If our own refusal
// is a firewall's, somebody else must have been refused: silence is judged by
// time.
func (c *Core) conclude(now time.Time, p *peer) {
	q := p.inquiry
	p.inquiry = nil
	if p.state != Suspect || q.second {
		return
	}
	var said []string
	refused := !p.contradicted()
	for _, name := range q.asked {
		verdict := q.said[name]
		if verdict == "" {
			verdict = Silent
		}
		refused = refused || verdict == Refused
		said = append(said, fmt.Sprintf("%s says %s", name, verdict))
		// What it said before is overtaken.
		c.with(name, func(m *peer) { delete(m.reaches, p.name) })
	}
	if !refused {
		return
	}
	c.die(now, p, fmt.Sprintf("connection lost, then refused (%s); asked whether they reach it, %s", q.why, strings.Join(said, ", ")))
}
