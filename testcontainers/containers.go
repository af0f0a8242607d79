package testcontainers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	tc "github.com/testcontainers/testcontainers-go"
	"golang.org/x/sync/errgroup"

	"github.com/glassbox-dev/glassbox/harness"
)

// Containers is a cluster of containers. They end with the process that started
// them, whatever ends it.
type Containers struct {
	opts    Options
	engine  *engine
	id      string // clusterLabel's value
	secret  string
	token   string
	image   string
	network *tc.DockerNetwork
	nodes   []*node
	started time.Time
	gaveUp  atomic.Bool // on something that the engine may still make

	// watching ends what watches the containers.
	watching context.Context
	unwatch  context.CancelFunc
	watches  sync.WaitGroup
	close    func() error
}

var _ harness.Cluster = (*Containers)(nil)

// clusterLabel is on everything of a cluster, beside runLabel.
const clusterLabel = "dev.glassbox.harness.cluster"

// Start starts the nodes and returns when their containers run, without waiting
// for the nodes to form: harness.WaitJoined does.
func Start(ctx context.Context, o Options) (*Containers, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e, err := theEngine()
	if err != nil {
		return nil, err
	}
	if err := e.runs(o); err != nil {
		return nil, err
	}
	if err := o.makeDir(); err != nil {
		return nil, err
	}
	c := newContainers(e, o)
	if err := c.start(ctx); err != nil {
		c.giveUp()
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func newContainers(e *engine, o Options) *Containers {
	c := &Containers{opts: o, engine: e, id: randomID(), secret: rand.Text(), token: rand.Text()}
	c.watching, c.unwatch = context.WithCancel(context.Background())
	c.close = sync.OnceValue(c.end)
	return c
}

// StartOn returns what starts such clusters, as a scenario needs them.
func StartOn(o Options) harness.Starter {
	return func(ctx context.Context, s harness.Setup) (harness.Cluster, error) {
		o.Nodes, o.AllowFaults = s.Nodes, o.AllowFaults || s.Break
		c, err := Start(ctx, o)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

func (c *Containers) start(ctx context.Context) (err error) {
	if c.image, err = c.engine.image(ctx, c.opts); err != nil {
		return err
	}
	if err := c.layOut(ctx); err != nil {
		return err
	}
	if err := c.createAll(ctx); err != nil {
		return err
	}
	if err := c.forAll(func(n *node) error { return c.run(ctx, n) }); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if at := n.begun(); at.After(c.started) {
			c.started = at
		}
	}
	return nil
}

// layOut makes the network and gives each node its address.
func (c *Containers) layOut(ctx context.Context) error {
	network, subnet, err := c.engine.createNetwork(ctx, c.labels())
	if err != nil {
		return err
	}
	c.network = network
	for i := range c.opts.Nodes {
		c.nodes = append(c.nodes, &node{name: fmt.Sprintf("n%d", i+1), addr: nodeAddr(subnet, i), turn: make(chan struct{}, 1)})
	}
	return nil
}

// createAll makes the containers. If another process has just removed the image
// in favour of its own, as it does with those that nothing uses, it is built
// again.
func (c *Containers) createAll(ctx context.Context) error {
	create := func(n *node) error {
		if n.container != nil {
			return nil
		}
		return c.create(ctx, n)
	}
	err := c.forAll(create)
	if err == nil {
		return nil
	}
	if _, gone := c.engine.api.ImageInspect(ctx, c.image); !errdefs.IsNotFound(gone) {
		return err
	}
	if c.image, err = c.engine.image(ctx, c.opts); err != nil {
		return err
	}
	return c.forAll(create)
}

// forAll does something with all nodes at once.
func (c *Containers) forAll(f func(*node) error) error {
	var all errgroup.Group
	for _, n := range c.nodes {
		all.Go(func() error { return f(n) })
	}
	return all.Wait()
}

// on finds a node.
func (c *Containers) on(name string) (*node, error) {
	i := slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no node %q; there are %v", name, c.Names())
	}
	return c.nodes[i], nil
}

func (c *Containers) labels() map[string]string {
	return map[string]string{runLabel: c.engine.label, clusterLabel: c.id}
}

// Target is harness.TargetDocker.
func (c *Containers) Target() harness.Target { return harness.TargetDocker }

// Names lists all nodes.
func (c *Containers) Names() []string {
	var names []string
	for _, n := range c.nodes {
		names = append(names, n.name)
	}
	return names
}

// Started is when the last container was started, as the engine tells.
func (c *Containers) Started() time.Time { return c.started }

// Token is what clients of the nodes must show.
func (c *Containers) Token() string { return c.token }

// randomID is a short name that nobody else has.
func randomID() string { return strings.ToLower(rand.Text()[:12]) }
