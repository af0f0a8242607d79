package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
)

// Options say which cluster to start.
type Options struct {
	Binary string // the glassbox binary
	// HTTP and RPC are the nodes' addresses; nil takes free ones of loopback.
	HTTP, RPC []string
	Nodes     int      // named n1, n2, …
	Dir       string   // for the logs; must exist
	Preset    string   // failure detection: local, lan or wan; "" is lan
	Flags     []string // further flags of every node
	Env       []string // the nodes' environment; nil is the harness's own
}

// Cluster is a number of nodes that know each other.
type Cluster struct {
	opts  Options
	nodes []*Node
	// Started is when the first process was started.
	Started time.Time
}

// Start starts the nodes and returns without waiting for them to form.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Nodes < 1 {
		return nil, fmt.Errorf("a cluster has at least one node, not %d", o.Nodes)
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return nil, fmt.Errorf("the node's binary is missing (make build makes it): %w", err)
	}
	if len(o.HTTP) == 0 && len(o.RPC) == 0 {
		free, err := FreeAddrs(2 * o.Nodes)
		if err != nil {
			return nil, err
		}
		o.HTTP, o.RPC = free[:o.Nodes], free[o.Nodes:]
	}
	if len(o.HTTP) != o.Nodes || len(o.RPC) != o.Nodes {
		return nil, fmt.Errorf("%d and %d addresses for %d nodes; give one of each kind for each, or none", len(o.HTTP), len(o.RPC), o.Nodes)
	}
	c := &Cluster{opts: o}
	for i := range o.Nodes {
		c.nodes = append(c.nodes, &Node{
			Name: fmt.Sprintf("n%d", i+1), HTTP: o.HTTP[i], RPC: o.RPC[i], cluster: c,
		})
	}
	c.Started = time.Now()
	for _, n := range c.nodes {
		if err := n.Start(ctx); err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
	return c, nil
}

// FreeAddrs returns loopback addresses that nobody listened on a moment ago.
func FreeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that none is given twice
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// Nodes returns all nodes, running or not.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node returns a node by name, nil if there is none.
func (c *Cluster) Node(name string) *Node {
	i := slices.IndexFunc(c.nodes, func(n *Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return c.nodes[i]
}

// Running returns the nodes whose process runs.
func (c *Cluster) Running() []*Node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *Node) bool { return !n.Running() })
}

// Stop ends all nodes, gently first, and returns when they have ended.
func (c *Cluster) Stop() error {
	errs := make(chan error, len(c.nodes))
	for _, n := range c.nodes {
		go func() { errs <- n.Stop() }()
	}
	var all error
	for range c.nodes {
		all = errors.Join(all, <-errs)
	}
	return all
}

// pollEvery is the step of all polling: finer than every figure it serves.
const pollEvery = 2 * time.Millisecond

// poll calls f until it says that it is done or ctx ends; the error tells what
// f said last.
func poll(ctx context.Context, f func() (done bool, state string)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		done, state := f()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last seen: %s", ctx.Err(), state)
		case <-tick.C:
		}
	}
}

// WaitFormed waits until every running node has joined and sees all running
// nodes alive, and returns when that was.
func (c *Cluster) WaitFormed(ctx context.Context) (time.Time, error) {
	running := c.Running()
	for _, n := range running {
		err := poll(ctx, func() (bool, string) {
			s, err := n.Status(ctx)
			if err != nil {
				return false, err.Error()
			}
			return s.Ready && s.Alive == len(running), fmt.Sprintf("%s sees %+v", n.Name, s.Nodes)
		})
		if err != nil {
			return time.Time{}, fmt.Errorf("the cluster did not form: %w", err)
		}
	}
	return time.Now(), nil
}
