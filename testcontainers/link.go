package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/testcontainers/internal/netfault"
)

// faults are a node's, in its life. They are changed by who has the node's turn.
type faults struct {
	rules   []netfault.Rule // in force, unless that is unknown
	unknown bool            // a change of them was not answered
	helper  *helper         // sets them; nil until it is needed
	helpers int             // so many were started
	delayed bool            // the node itself delays links
}

// takeTurn waits for the turn to change a node's faults.
func (n *node) takeTurn(ctx context.Context) (giveBack func(), err error) {
	select {
	case n.turn <- struct{}{}:
		return func() { <-n.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Break breaks a link. Cut and loss are of packets, by rules in the network of
// the link's node that are only about the peers' addresses: this machine reaches
// the node all the same. A delay is made by the node, which must allow faults.
//
// A link that is broken stays so until [Containers.Heal], or until the node
// ends: its network ends with it.
func (c *Containers) Break(ctx context.Context, l harness.Link) (time.Time, error) {
	now := time.Now()
	n, _, err := c.living(l.Node)
	if err != nil {
		return now, err
	}
	peers, err := c.peers(l)
	if err != nil {
		return now, err
	}
	giveBack, err := n.takeTurn(ctx)
	if err != nil {
		return now, err
	}
	defer giveBack()
	if l.Delay > 0 {
		if now, err = c.delay(ctx, n, peers, l); err != nil || l.Loss == 0 {
			return now, err
		}
	}
	rules := slices.Clone(n.faults.rules) // those in force, if these cannot be
	for _, peer := range peers {
		rules = append(rules, netfault.Rule{
			Peer: peer.addr, Loss: l.Loss, In: l.Direction != harness.Out, Out: l.Direction != harness.In,
		})
	}
	return c.setRules(ctx, n, rules)
}

// peers are those at the other ends of a link.
func (c *Containers) peers(l harness.Link) ([]*node, error) {
	switch l.Direction {
	case "", harness.Both, harness.In, harness.Out:
	default:
		return nil, fmt.Errorf("no direction %q; there are both, in and out", l.Direction)
	}
	if !(l.Loss >= 0 && l.Loss <= 1) { // nor is NaN
		return nil, fmt.Errorf("a loss of %g; it is between 0 and 1", l.Loss)
	}
	if l.Delay < 0 || l.Delay > 0 && l.Delay < time.Millisecond {
		return nil, fmt.Errorf("a delay of %s; it is at least 1ms, or 0 for none", l.Delay)
	}
	if l.Peer != "" {
		peer, err := c.on(l.Peer)
		if err == nil && l.Peer == l.Node {
			err = fmt.Errorf("%s has no link to itself", l.Node)
		}
		return []*node{peer}, err
	}
	var peers []*node
	for _, n := range c.nodes {
		if n.name != l.Node {
			peers = append(peers, n)
		}
	}
	return peers, nil
}

// setRules puts rules into force at a node and returns the last moment before.
// The caller has the node's turn.
func (c *Containers) setRules(ctx context.Context, n *node, rules []netfault.Rule) (time.Time, error) {
	now := time.Now()
	if n.faults.helper == nil {
		h, err := c.startHelper(ctx, n)
		if err != nil {
			return now, fmt.Errorf("change the links of %s: %w", n.name, err)
		}
		n.faults.helper = h
		now = time.Now() // that took a while
	}
	n.faults.unknown = true
	problem, err := n.faults.helper.set(ctx, rules)
	if err == nil {
		n.faults.unknown = false
	}
	if err != nil || ctx.Err() != nil { // the next one starts afresh
		err = errors.Join(err, n.faults.helper.remove(ctx))
		n.faults.helper = nil
	}
	if problem != "" {
		err = errors.Join(errors.New(problem), err)
	}
	if err != nil {
		return now, fmt.Errorf("change the links of %s: %w", n.name, err)
	}
	n.faults.rules = rules
	return now, nil
}

// delayTTL is after when a delay ends by itself, should nobody end it.
const delayTTL = 10 * time.Minute

// delay asks the node to delay links: this kernel may have no way to do it. The
// caller has the node's turn.
func (c *Containers) delay(ctx context.Context, n *node, peers []*node, l harness.Link) (time.Time, error) {
	now := time.Now()
	if !c.opts.AllowFaults {
		return now, errors.New("a delay is made by the nodes themselves, and these were not started to: set Options.AllowFaults")
	}
	n.faults.delayed = true
	direction := l.Direction
	if direction == "" {
		direction = harness.Both
	}
	for _, peer := range peers {
		err := harness.Client(c, n.name).Call(ctx, "fault.delay", map[string]any{
			"peer": peer.name, "direction": direction, "ms": l.Delay.Milliseconds(), "ttl_ms": delayTTL.Milliseconds(),
		}, nil)
		if err != nil {
			return now, fmt.Errorf("fault.delay on %s: %w", n.name, err)
		}
	}
	return now, nil
}

// Heal mends all links that are broken, of the nodes that run. It does not
// connect what [Containers.Disconnect] has disconnected.
func (c *Containers) Heal(ctx context.Context) (time.Time, error) {
	now := time.Now()
	return now, c.forAll(func(n *node) error { return c.healNode(ctx, n) })
}

func (c *Containers) healNode(ctx context.Context, n *node) error {
	giveBack, err := n.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer giveBack()
	if _, running := n.running(); !running { // the faults of one that ended are over
		return nil
	}
	if len(n.faults.rules) > 0 || n.faults.unknown {
		if _, err := c.setRules(ctx, n, nil); err != nil {
			return err
		}
	}
	if n.faults.delayed {
		if err := harness.Client(c, n.name).Call(ctx, "fault.heal", nil, nil); err != nil {
			return fmt.Errorf("fault.heal on %s: %w", n.name, err)
		}
		n.faults.delayed = false
	}
	return nil
}

// forgetFaults forgets the faults of a node that has ended.
func (c *Containers) forgetFaults(ctx context.Context, n *node) error {
	giveBack, err := n.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer giveBack()
	return n.dropFaults(ctx)
}

// dropFaults is forgetFaults for who has the node's turn.
func (n *node) dropFaults(ctx context.Context) error {
	helper := n.faults.helper
	n.faults = faults{helpers: n.faults.helpers}
	if helper == nil {
		return nil
	}
	return helper.remove(ctx)
}

// Disconnect takes a node out of the network without a word to anybody: what it
// sends is lost, and so is what is sent to it, by this machine too. It returns
// the last moment at which the node was seen to be in it.
func (c *Containers) Disconnect(ctx context.Context, node string) (time.Time, error) {
	n, _, err := c.living(node)
	if err != nil {
		return time.Now(), err
	}
	return c.lastSeen(ctx, node, func() error {
		_, err := c.engine.api.NetworkDisconnect(ctx, c.network.ID, client.NetworkDisconnectOptions{Container: n.container.GetContainerID()})
		if err != nil {
			return fmt.Errorf("disconnect %s: %w", node, err)
		}
		return nil
	})
}

// Connect puts a node back, at the same address. Its API has another port then.
func (c *Containers) Connect(ctx context.Context, node string) (time.Time, error) {
	now := time.Now()
	n, life, err := c.living(node)
	if err != nil {
		return now, err
	}
	if err := c.join(ctx, n); err != nil {
		return now, err
	}
	_, err = c.look(ctx, n, life)
	return now, err
}

// join connects a node's container to the network.
func (c *Containers) join(ctx context.Context, n *node) error {
	_, err := c.engine.api.NetworkConnect(ctx, c.network.ID, client.NetworkConnectOptions{
		Container: n.container.GetContainerID(), EndpointConfig: &network.EndpointSettings{IPAMConfig: n.ipam()},
	})
	if err != nil {
		return fmt.Errorf("connect %s: %w", n.name, err)
	}
	return nil
}

// rejoin connects a node's container again if it was disconnected.
func (c *Containers) rejoin(ctx context.Context, n *node) error {
	info, err := n.container.Inspect(ctx)
	if err != nil {
		return fmt.Errorf("ask the engine about %s: %w", n.name, err)
	}
	if _, in := info.NetworkSettings.Networks[c.network.Name]; in {
		return nil
	}
	return c.join(ctx, n)
}
