package cluster

import (
	"fmt"
	"strings"
	"time"
)

// inquiry is a question to the others about a peer that refused a connection.
// A refusal alone is no death: a firewall refuses too.
type inquiry struct {
	why    string
	asked  []string
	until  time.Time
	said   map[string]Verdict
	second bool // nobody was there to ask: a second refusal decides
}

// refused takes a refused dial to a suspect.
func (c *Core) refused(now time.Time, p *peer, why string) {
	if p.state != Suspect || p.stalled {
		return
	}
	if p.inquiry != nil {
		if p.inquiry.second {
			c.die(now, p, fmt.Sprintf("connection lost, then refused twice (%s); nobody else to ask", why))
		}
		return
	}
	q := &inquiry{why: why, said: map[string]Verdict{}, until: now.Add(c.cfg.AskTimeout)}
	for _, name := range c.names {
		if m := c.peers[name]; m != p && c.direct(now, m) {
			q.asked = append(q.asked, name)
		}
	}
	p.inquiry = q
	if len(q.asked) > 0 {
		c.emit(Ask{q.asked, p.name})
		return
	}
	q.second = true
	q.until = now.Add(c.cfg.DeadAfter) // judged by silence before that
	p.nextDial = now.Add(c.cfg.SecondRefusal)
}

// told takes one answer. The first that reaches the peer ends the inquiry: the
// peer lives, and is reached by that member.
func (c *Core) told(now time.Time, p *peer, in Told) {
	q := p.inquiry
	if q == nil || q.second {
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
		p.lastHeard = now // not an answer to us, but it lives
		return
	}
	if len(q.said) == len(q.asked) {
		c.conclude(now, p)
	}
}

// conclude ends an inquiry in which nobody reached the peer.
func (c *Core) conclude(now time.Time, p *peer) {
	q := p.inquiry
	p.inquiry = nil
	if p.state != Suspect || q.second {
		return
	}
	var said []string
	for _, name := range q.asked {
		verdict := q.said[name]
		if verdict == "" {
			verdict = Silent
		}
		said = append(said, fmt.Sprintf("%s says %s", name, verdict))
		// What it said before is overtaken.
		c.with(name, func(m *peer) { delete(m.reaches, p.name) })
	}
	c.die(now, p, fmt.Sprintf("connection lost, then refused (%s); asked whether they reach it, %s", q.why, strings.Join(said, ", ")))
}
