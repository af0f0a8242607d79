package cluster

import (
	"fmt"
	"maps"
	"time"

	"github.com/glassbox-dev/glassbox/memdb"

	"github.com/glassbox-dev/glassbox/internal/sabotage"
)

// connect takes a handshake that succeeded: both sides have answered each
// other, so the peer lives.
func (c *Core) connect(now time.Time, p *peer, in Connected) {
	if why := c.Refuses(p.name, in.Info.Incarnation); why != "" {
		c.emit(Drop{p.name, why})
		if in.Dialled {
			c.dialFailed(now, p, DialFailed{Peer: p.name, Why: why})
		}
		return
	}
	if in.Info.Incarnation > p.incarnation {
		c.rebirth(now, p, in.Info.Incarnation)
	}
	p.addr, p.connected, p.settled = in.Info.Addr, true, true
	p.dialled = p.dialled || in.Dialled
	p.lastHeard, p.behind = now, time.Time{}
	p.noteAnswer(now)
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
		p.target = maps.Clone(in.Info.Digest)
		delete(p.target, c.cfg.Self)
	}
	c.revive(now, p, in.Info.Ready, "connected")
}

// Refuses says why a connection with a peer in this incarnation is not taken;
// "" if it is. An incarnation that is over, or has said goodbye, is not returned
// to: whoever speaks for it is late.
func (c *Core) Refuses(node string, incarnation uint64) string {
	p := c.peers[node]
	switch {
	case p == nil:
		return "not among the peers"
	case incarnation < p.incarnation:
		return fmt.Sprintf("incarnation %d of node %s is over, %d is known: another process has been started with its name", incarnation, node, p.incarnation)
	case incarnation == p.incarnation && p.state == Left:
		return fmt.Sprintf("node %s has said goodbye", node)
	}
	return ""
}

func (p *peer) noteAnswer(now time.Time) {
	p.lastAnswer, p.lastReached, p.longest, p.others, p.misses = now, now, 0, 0, 0
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

// revive notes an answer of the peer to us.
func (c *Core) revive(now time.Time, p *peer, ready bool, how string) {
	p.ready = p.ready || ready
	if p.stalled {
		return // it lives, but does not keep up: the next advance revives it
	}
	if p.indirect {
		p.indirect, p.why = false, how+" again"
	}
	c.live(now, p, how)
}

// live makes a peer of which there is a sign of life what it has to be.
func (c *Core) live(now time.Time, p *peer, how string) {
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

// pinged takes a peer's word that it has joined. A ping is no answer: it says
// nothing else.
func (c *Core) pinged(now time.Time, p *peer, in Pinged) {
	if in.Incarnation != p.incarnation {
		return // of a former life
	}
	p.ready = p.ready || in.Ready
	if p.state == Joining && p.connected {
		c.live(now, p, "connected and caught up")
	}
}

// disconnect takes the end of a connection. The last one makes a suspect at
// once, and a new dial tells more.
func (c *Core) disconnect(now time.Time, p *peer, in Disconnected) {
	if !p.connected {
		return // it was given up before
	}
	if in.Dialled || !in.Rest {
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
	p.stalled, p.behind = false, time.Time{}
	switch p.state {
	case Alive, Joining:
		c.suspect(now, p, "connection lost: "+in.Why)
	case Suspect:
		p.why = fmt.Sprintf("connection lost: %s; before that: %s", in.Why, p.why)
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
	} else if sabotage.Breaks("trust a dial as life") && p.joined {
		p.noteAnswer(now)
		c.live(now, p, "a dial succeeded")
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
	p.lastHeard, p.rtt = now, in.RTT
	p.noteAnswer(now)
	c.noteReach(now.Add(-in.RTT), p, in.Answer.Reach)
	c.keepsUp(now, p, in.Answer.Applied)
	c.revive(now, p, in.Answer.Ready, "answers pings")
	if in.Answer.Known > c.incarnation {
		c.learnOwn(Known{p.name, in.Answer.Known})
	}
}

// noteReach takes whom a peer reaches, as of when it was asked: an answer that
// was long on its way, behind a cut that has healed, is no fresh word. It may be
// older than what the peer said when it tried for us: then that one counts.
func (c *Core) noteReach(asked time.Time, p *peer, reach map[string]int64) {
	before := p.reaches
	p.reaches, p.reachedAt = map[string]time.Time{}, p.lastAnswer
	for name, us := range reach {
		if c.peers[name] != nil {
			p.reaches[name] = latest(before[name], asked.Add(-ago(us)))
		}
	}
}

// ago bounds what a peer says: an hour is as good as never.
func ago(us int64) time.Duration {
	return time.Duration(min(max(0, us), time.Hour.Microseconds())) * time.Microsecond
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
func (c *Core) leave(now time.Time, p *peer, in Goodbye) {
	if p.state == Left || in.Incarnation != p.incarnation {
		return
	}
	p.inquiry, p.connected, p.dialled, p.nextPing = nil, false, false, time.Time{}
	p.backoff, p.nextDial = c.cfg.RedialMax, now.Add(c.cfg.RedialMax)
	p.settled, p.joined, p.ready, p.stalled = true, false, false, false
	c.set(now, p, Left, MemberLeft, "it said goodbye")
	c.emit(Forget{p.name})
}
