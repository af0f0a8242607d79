package node

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/replica"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
)

// runMethod is the node-to-node method that runs a forwarded operation.
const runMethod = "op.run"

// router is what the table of operations sees of the cluster.
type router struct{ n *Node }

func (r router) Self() string           { return r.n.cfg.Name }
func (r router) Ready() <-chan struct{} { return r.n.cluster.Ready() }

// Targets are the live members. A suspect is among them with its error: to
// wait for it would be to wait for nothing.
func (r router) Targets() []op.Target {
	var targets []op.Target
	for _, m := range r.n.cluster.Members() {
		switch m.State {
		case cluster.Alive, cluster.Joining:
			targets = append(targets, op.Target{Node: m.Name})
		case cluster.Suspect:
			err := errs.New(errs.NodeUnavailable, "node %s is suspected to have failed: %s", m.Name, m.Why)
			targets = append(targets, op.Target{Node: m.Name, Err: err})
		}
	}
	return targets
}

func (r router) ReadyPeer() (string, bool) {
	for _, m := range r.n.cluster.Members() {
		if m.State == cluster.Alive && m.Name != r.n.cfg.Name {
			return m.Name, true
		}
	}
	return "", false
}

func (r router) Forward(ctx context.Context, node string, f op.Forwarded) (json.RawMessage, error) {
	params, err := f.Encode()
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "%s cannot be forwarded", f.Method)
	}
	var result json.RawMessage
	if err := r.n.cluster.Call(ctx, node, runMethod, params, &result); err != nil {
		e := errs.From(err)
		if e.Remote && e.Node == "" {
			e = e.WithNode(node)
		}
		return nil, e
	}
	return result, nil
}

// waits reports whether a request of another node may wait for what need not come.
func waits(method string, params json.RawMessage) bool {
	if method != runMethod || !bytes.Contains(params, []byte("wait_ms")) && !bytes.Contains(params, []byte(`\u`)) {
		return false // most: they need not be taken apart twice
	}
	f, err := op.DecodeForwarded(params)
	return err == nil && f.Waits()
}

// Handle answers the other nodes: forwarded operations and replication.
func (n *Node) Handle(ctx context.Context, from, method string, params json.RawMessage) (any, error) {
	switch {
	case method == runMethod:
		f, err := op.DecodeForwarded(params)
		if err != nil {
			return nil, errs.Wrap(errs.BadParameter, err, "node %s forwarded what is no operation", from)
		}
		return n.table.Run(ctx, f)
	case replica.Handles(method):
		return n.replica.Handle(ctx, from, method, params)
	default:
		return nil, errs.New(errs.MethodNotFound, "no node-to-node method %q; the nodes may be of different versions", method)
	}
}
