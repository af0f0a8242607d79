package cluster

import (
	"fmt"
	"time"

	"github.com/glassbox-dev/glassbox/memdb"
)

// connect takes a handshake that succeeded: both sides have answered each
// other, so the peer lives.
func (c *Core) connect(now time.Time, p *peer, in Connected) {
	if in.Info.Incarnation < p.incarnation {
		c.emit(Drop{p.name, fmt.Sprintf("incarnation %d of %s is over", in.Info.Incarnation, p.name)})
		return
	}
	if in.Info.Incarnation > p.incarnation {
		c.rebirth(now, p, in.Info.Incarnation)
	}
	p.addr, p.connected, p.settled = in.Info.Addr, true, true
	p.dialled = p.dialled || in.Dialled
	p.lastAnswer, p.lastHeard, p.doubt, p.misses = now, now, 0, 0
	p.inquiry, p.backoff, p.lostAt = nil, c.cfg.RedialMin, time.Time{}
	if p.nextPing.IsZero() {
		p.nextPing = now
	}
	if in.Dialled {
		p.dialling, p.nextDial = false, time.Time{}
	} else if !p.dialled && !p.dialling {
		p.nextDial = now // whoever dials us can be dialled: do it at once
	}
	if !c.ready {
		for origin, position := range in.Info.Digest {
			if origin != c.cfg.Self && !c.target[origin].Covers(position) {
				c.target[origin] = position
			}
		}
	}
	c.revive(now, p, in.Info.Ready, "connected")
}

// rebirth begins a new incarnation of a peer: what was known of the old one is
// over.
func (c *Core) rebirth(now time.Time, p *peer, incarnation uint64) {
	why := fmt.Sprintf("reborn: incarnation %d follows %d", incarnation, p.incarnation)
	if p.joined && (p.state == Alive || p.state == Suspect || p.state == Joining) {
		c.set(now, p, Dead, MemberFailed, why)
	}
	p.incarnation, p.joined, p.ready = incarnation, false, false
	p.reaches, p.applied, p.behind, p.stalled = nil, memdb.Position{}, time.Time{}, false
	p.connected, p.dialled = false, false
}

// revive notes a sign of life.
func (c *Core) revive(now time.Time, p *peer, ready bool, how string) {
	p.ready = p.ready || ready
	if p.stalled {
		return // it lives, but does not keep up: the next advance revives it
	}
	switch {
	case !p.ready:
		if p.state != Joining {
			c.set(now, p, Joining, "", how+", not caught up yet")
		}
	case p.state == Alive:
	case p.joined:
		why := fmt.Sprintf("%s, after %s of being %s (%s)", how, now.Sub(p.since).Round(time.Millisecond), p.state, p.why)
		c.set(now, p, Alive, MemberRecovered, why)
	default:
		p.joined = true
		c.set(now, p, Alive, MemberJoined, how+fmt.Sprintf(" at %s", p.addr))
	}
}

// setReady takes a peer's word that it has joined.
func (c *Core) setReady(now time.Time, p *peer, ready bool) {
	p.ready = p.ready || ready
	if p.state == Joining && p.connected {
		c.revive(now, p, ready, "connected and caught up")
	}
}

// disconnect takes the end of a connection. The last one makes a suspect at
// once, and a new dial tells more.
func (c *Core) disconnect(now time.Time, p *peer, in Disconnected) {
	if in.Dialled {
		p.dialled = false
	}
	p.connected = in.Rest
	if !p.dialling && !p.dialled {
		p.nextDial = now
	}
	if in.Rest {
		return
	}
	p.nextPing, p.lostAt = time.Time{}, now
	if p.state == Alive || p.state == Joining {
		c.suspect(now, p, "connection lost: "+in.Why)
	}
}

// dialFailed takes a dial that failed. Only a refusal says anything about the
// peer: its machine answered, and nobody listens.
func (c *Core) dialFailed(now time.Time, p *peer, in DialFailed) {
	p.dialling = false
	p.nextDial = now.Add(c.jitter(p.backoff))
	p.backoff = min(2*p.backoff, c.cfg.RedialMax)
	if p.state == Unknown {
		p.why = "not reached yet: " + in.Why
	}
	if in.Refused {
		c.refused(now, p, in.Why)
	}
}

// jitter takes a random part of up to half off, so that nodes that lost each
// other at the same time do not dial in step.
func (c *Core) jitter(d time.Duration) time.Duration {
	return d - time.Duration(c.rand.Int64N(int64(d)/2+1))
}

// answered takes an answer to our own ping.
func (c *Core) answered(now time.Time, p *peer, in Answered) {
	if !p.connected {
		return // a late answer from a connection that is gone
	}
	p.lastAnswer, p.lastHeard, p.doubt, p.misses, p.rtt = now, now, 0, 0, in.RTT
	p.reaches, p.reachedAt = map[string]time.Time{}, now
	for name, us := range in.Answer.Reach {
		p.reaches[name] = now.Add(-time.Duration(max(0, us)) * time.Microsecond)
	}
	c.keepsUp(now, p, in.Answer.Applied)
	c.revive(now, p, in.Answer.Ready, "answers pings")
	if in.Answer.Known > c.incarnation {
		c.learnOwn(Known{p.name, in.Answer.Known})
	}
}

// keepsUp notes how far the peer has applied our changes.
func (c *Core) keepsUp(now time.Time, p *peer, applied memdb.Position) {
	advanced := applied != p.applied
	p.applied = applied
	switch {
	case applied.Covers(c.ours):
		p.behind, p.stalled = time.Time{}, false
	case advanced || p.behind.IsZero():
		p.behind, p.stalled = now, false
	}
}

// leave takes a goodbye.
func (c *Core) leave(now time.Time, p *peer) {
	if p.state == Left {
		return
	}
	p.inquiry, p.connected, p.dialled, p.nextPing = nil, false, false, time.Time{}
	p.backoff, p.nextDial = c.cfg.RedialMax, now.Add(c.cfg.RedialMax)
	p.settled, p.joined, p.ready = true, false, false
	c.set(now, p, Left, MemberLeft, "it said goodbye")
	c.emit(Drop{p.name, "it said goodbye"})
}
