package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/rpc"
)

// The node-to-node methods of membership.
const (
	pingMethod    = "cluster.ping"
	askMethod     = "cluster.ask"
	goodbyeMethod = "cluster.goodbye"
)

// pingParams is what a ping says of its sender.
type pingParams struct {
	Incarnation uint64 `json:"incarnation"`
	Ready       bool   `json:"ready"`
	Hash        uint64 `json:"hash"` // of its digest
	Stalled     bool   `json:"stalled,omitempty"`
}

type askParams struct {
	About string `json:"about"`
}

type goodbyeParams struct {
	Incarnation uint64 `json:"incarnation"`
}

type askResult struct {
	Verdict Verdict `json:"verdict"`
}

// digestBits keeps a hash exact in JSON.
const digestBits = 1<<53 - 1

// answer answers a peer's request.
func (c *Cluster) answer(ctx context.Context, peer, method string, params json.RawMessage) (any, error) {
	done, err := c.admit(peer, method, params)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.answerFrom(ctx, peer, method, params)
}

// answerFrom answers a peer whose request has come, by whatever way.
func (c *Cluster) answerFrom(ctx context.Context, peer, method string, params json.RawMessage) (any, error) {
	switch method {
	case pingMethod:
		return c.answerPing(peer, params)
	case askMethod:
		var p askParams
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, errs.Wrap(errs.BadParameter, err, "a question that cannot be read")
		}
		return askResult{c.try(ctx, p.About)}, nil
	case goodbyeMethod:
		var p goodbyeParams
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, errs.Wrap(errs.BadParameter, err, "a goodbye that cannot be read")
		}
		c.step(Goodbye{peer, p.Incarnation})
		return nil, nil
	case relayMethod, relayedMethod:
		var r relayed
		if err := json.Unmarshal(params, &r); err != nil {
			return nil, errs.Wrap(errs.BadParameter, err, "what is to be passed on cannot be read")
		}
		if method == relayMethod {
			return c.relay(ctx, peer, r)
		}
		return c.takeRelayed(ctx, peer, r)
	default:
		return c.opts.Node.Handle(ctx, peer, method, params)
	}
}

func (c *Cluster) answerPing(peer string, params json.RawMessage) (any, error) {
	var p pingParams
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "a ping that cannot be read")
	}
	if p.Stalled {
		c.opts.Log.Warn("a peer says that this node does not apply its changes", "peer", peer)
	}
	c.step(Pinged{peer, p.Incarnation, p.Ready})
	digest := c.opts.Replica.Digest()
	c.mu.Lock()
	answer := Answer{
		Ready: c.core.Ready(), Known: c.core.Highest(peer), Reach: c.core.Reaches(time.Now()),
		Applied: digest[peer], Hash: digest.Hash() & digestBits,
	}
	c.mu.Unlock()
	if answer.Hash != p.Hash {
		answer.Digest = digest
	}
	return answer, nil
}

// ping asks a peer for a sign of life.
func (c *Cluster) ping(p Ping) {
	l := c.linksByName()[p.Peer]
	conn := l.conn()
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.DeadAfter)
	defer cancel()
	self := c.info()
	params := pingParams{Incarnation: self.Incarnation, Ready: self.Ready, Hash: self.Digest.Hash() & digestBits, Stalled: p.Stalled}
	var answer Answer
	sent := time.Now()
	if err := conn.Call(ctx, pingMethod, params, &answer); err != nil {
		return // silence is judged by the core; a lost connection tells itself
	}
	if !c.answered(l, Answered{Peer: p.Peer, RTT: time.Since(sent), Answer: answer}) {
		return
	}
	if answer.Digest != nil {
		c.opts.Replica.Saw(p.Peer, answer.Digest)
	}
}

// answered takes an answer to a ping, unless the link it came by is gone: then
// it says nothing of the one that took its place.
func (c *Cluster) answered(l *link, in Answered) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.links[in.Peer] != l {
		return false
	}
	c.stepLocked(in)
	return true
}

// ask asks a member whether it reaches a peer.
func (c *Cluster) ask(member, about string) {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.AskTimeout)
	defer cancel()
	var result askResult
	if err := c.Call(ctx, member, askMethod, askParams{about}, &result); err != nil {
		result.Verdict = Silent
	}
	c.step(Told{About: about, By: member, Verdict: result.Verdict})
}

// try finds out whether this node reaches a peer now: by a ping if they are
// connected, by a dial if not.
func (c *Cluster) try(ctx context.Context, peer string) Verdict {
	if _, ok := c.cfg.Peers[peer]; !ok {
		return Silent
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AskTimeout*4/5) // the answer must be back in time
	defer cancel()
	if conn := c.conn(peer); conn != nil {
		self := c.info()
		err := conn.Call(ctx, pingMethod, pingParams{Incarnation: self.Incarnation, Ready: self.Ready}, nil)
		if err == nil {
			return Reached
		}
		if ctx.Err() != nil {
			return Silent
		}
	}
	nc, err := c.dialAddr(ctx, peer, c.member(peer).Addr)
	switch {
	case err == nil:
		_ = nc.Close()
		return Silent // the kernel accepts for a frozen process: no sign of life
	case rpc.Refused(err):
		return Refused
	default:
		return Silent
	}
}

// Leave says goodbye to all members and stops listening. Run goes on until its
// context ends. Members that did not hear it, and those that only others reach,
// are named in the error: they will take this node for failed.
func (c *Cluster) Leave(ctx context.Context) error {
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	err := c.opts.Listener.Close()
	results := make(chan error)
	live := 0
	for _, m := range c.Members() {
		if !m.Self && (m.State == Joining || m.State == Alive || m.State == Suspect) {
			live++
			c.wg.Go(func() { results <- c.sayGoodbye(ctx, m.Name) })
		}
	}
	for range live {
		err = errors.Join(err, <-results)
	}
	return err
}

func (c *Cluster) sayGoodbye(ctx context.Context, peer string) error {
	if err := c.Call(ctx, peer, goodbyeMethod, goodbyeParams{c.Self().Incarnation}, nil); err != nil {
		return fmt.Errorf("goodbye to %s: %w", peer, err)
	}
	return nil
}
