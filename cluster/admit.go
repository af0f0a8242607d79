package cluster

import (
	"encoding/json"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// maxWaits is how many requests of a peer's connection may be at work here that
// wait for something that need not come. The other workers are for those that are
// answered soon: what is relayed for a third among them, and what is refused.
const maxWaits = nodeWorkers / 2

// admit takes a request that a peer has sent or passed on, or refuses it because
// too many wait already. done is called when it has been answered.
func (c *Cluster) admit(by, method string, params json.RawMessage) (done func(), err error) {
	if !c.opts.Waits(method, params) {
		return func() {}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits[by] >= maxWaits {
		return nil, errs.New(errs.RateLimited, "%d requests that came from node %s wait at node %s already; ask node %s itself, ask again later, or ask without waiting",
			maxWaits, by, c.cfg.Self, c.cfg.Self)
	}
	c.waits[by]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.waits[by]--; c.waits[by] == 0 {
			delete(c.waits, by)
		}
	}, nil
}
