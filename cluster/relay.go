package cluster

import (
	"context"
	"encoding/json"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// Where two members cannot talk a third relays, one hop: the one who asks sends
// relayMethod to it, and it sends relayedMethod to the one who is asked.
const (
	relayMethod   = "cluster.relay"
	relayedMethod = "cluster.relayed"
)

// relayed is what is relayed: Node is whom it is for on the first hop, and whom
// it is from on the second.
type relayed struct {
	Node   string          `json:"node"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

// relayable reports whether a method may be relayed: what tells of a link by
// itself says nothing when it went another way.
func relayable(method string) bool {
	switch method {
	case relayMethod, relayedMethod, pingMethod, askMethod:
		return false
	}
	return true
}

// callVia calls a method of a node that only another member reaches.
func (c *Cluster) callVia(ctx context.Context, helper, node, method string, params, result any) error {
	conn := c.conn(helper)
	if conn == nil {
		return errs.New(errs.NodeUnavailable, "node %s is reached only by node %s, which is not connected, so %s was not sent", node, helper, method)
	}
	raw, err := jsontext.Marshal(params)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "the parameters of %s cannot be written", method)
	}
	return conn.Call(ctx, relayMethod, relayed{node, method, raw}, result)
}

// relay passes on what a peer cannot send itself. What this node does not reach
// directly is not passed on: it could come back here.
func (c *Cluster) relay(ctx context.Context, from string, r relayed) (any, error) {
	done, err := c.admit(from, r.Method, r.Params)
	if err != nil {
		return nil, err
	}
	defer done()
	conn := c.conn(r.Node)
	if !relayable(r.Method) || conn == nil || c.reachOf(r.Node) != ReachDirect {
		return nil, errs.New(errs.NodeUnavailable, "node %s does not reach node %s either, so %s was not passed on", c.cfg.Self, r.Node, r.Method)
	}
	var result json.RawMessage
	if err := conn.Call(ctx, relayedMethod, relayed{from, r.Method, r.Params}, &result); err != nil {
		return nil, err
	}
	return result, nil
}

// takeRelayed answers what a peer has passed on.
func (c *Cluster) takeRelayed(ctx context.Context, by string, r relayed) (any, error) {
	if _, ok := c.cfg.Peers[r.Node]; !ok || !relayable(r.Method) {
		return nil, errs.New(errs.Forbidden, "node %s passed on %s of node %q, which is not to be passed on", by, r.Method, r.Node)
	}
	done, err := c.admit(by, r.Method, r.Params)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.answerFrom(ctx, r.Node, r.Method, r.Params)
}
