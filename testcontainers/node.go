package testcontainers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	tc "github.com/testcontainers/testcontainers-go"

	"github.com/glassbox-dev/glassbox/harness"
)

// node is one container of a cluster. The same container is started again and
// again: each start is a new life of it.
type node struct {
	name      string
	addr      netip.Addr // in the cluster's network, for ever
	container tc.Container

	mu      sync.Mutex
	lives   int
	started time.Time       // the newest life
	ending  *harness.Ending // nil while it lives
	killed  bool            // we killed it, in this life
	http    string          // host:port; that of the newest life, also after it; "" if it has none
	log     *string         // kept when the container is removed

	// turn is taken by who changes the node's faults, or starts it.
	turn   chan struct{}
	faults faults
}

// Where the node finds its secrets. They are put into each container, not into
// the image, which is kept.
const (
	secretFile = "/secret"
	tokenFile  = "/token"
)

func (n *node) rpc() string { return netip.AddrPortFrom(n.addr, rpcPort).String() }

// create makes a node's container, which does not run yet.
func (c *Containers) create(ctx context.Context, n *node) error {
	secret := func(file, content string) tc.ContainerFile {
		return tc.ContainerFile{Reader: strings.NewReader(content), ContainerFilePath: file, FileMode: 0o400}
	}
	port := network.MustParsePort(strconv.Itoa(httpPort) + "/tcp")
	ctr, err := c.engine.provider.CreateContainer(ctx, tc.ContainerRequest{
		Image: c.image, Name: c.containerName(n), Labels: c.labels(),
		Cmd:          c.opts.command(n, c.nodes),
		Files:        []tc.ContainerFile{secret(secretFile, c.secret), secret(tokenFile, c.token)},
		Networks:     []string{c.network.Name},
		ExposedPorts: []string{port.String()},
		ConfigModifier: func(config *container.Config) {
			config.Hostname = n.name
		},
		HostConfigModifier: func(host *container.HostConfig) {
			// On networks of one's own the engine would publish to the world.
			host.PortBindings = network.PortMap{port: {{HostIP: c.engine.publish}}}
			// By the engine's defaults old lines may be thrown away, or go elsewhere.
			host.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1g"}}
		},
		EndpointSettingsModifier: func(settings map[string]*network.EndpointSettings) {
			settings[c.network.Name].IPAMConfig = n.ipam()
		},
	})
	if err != nil {
		return fmt.Errorf("create %s: %w", n.name, err)
	}
	n.container = ctr
	return nil
}

func (c *Containers) containerName(n *node) string { return "glassbox-" + c.id + "-" + n.name }

// ipam is the node's static address: a peer that comes back is found at once.
func (n *node) ipam() *network.EndpointIPAMConfig {
	return &network.EndpointIPAMConfig{IPv4Address: n.addr}
}

// run begins a new life of a node's container.
func (c *Containers) run(ctx context.Context, n *node) error {
	asked := time.Now()
	if err := n.container.Start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.mu.Lock()
	n.lives++
	n.ending, n.killed = nil, false
	life := n.lives
	n.mu.Unlock()
	c.watches.Go(func() { c.watchEnd(n, life) }) // it runs, whatever is learnt of it
	state, err := c.look(ctx, n, life)
	if err != nil {
		return err
	}
	at := c.engine.reported(state.StartedAt, asked, time.Now())
	n.mu.Lock()
	n.started = at
	n.mu.Unlock()
	return nil
}

// begun is when the newest life began.
func (n *node) begun() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.started
}

// running reports whether the node lives, and which life it is.
func (n *node) running() (life int, lives bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lives, n.lives > 0 && n.ending == nil
}

// look asks the engine about a node's container and notes its port, or its end
// if that life is over.
func (c *Containers) look(ctx context.Context, n *node, life int) (*container.State, error) {
	info, err := n.container.Inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the engine about %s: %w", n.name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lives != life {
		return info.State, nil
	}
	if !info.State.Running && n.ending == nil {
		n.ending = endingOf(info.State, n.killed)
	}
	if info.State.Running {
		n.http = ""
	}
	for port, bindings := range info.NetworkSettings.Ports {
		if port.Num() == httpPort && len(bindings) > 0 {
			n.http = net.JoinHostPort(c.engine.host, bindings[0].HostPort)
		}
	}
	return info.State, nil
}

// endingOf translates how a container ended. The engine tells a signal only as
// 128 more than its number, as it does when memory ran out: it is taken for a
// kill only if we did it.
func endingOf(s *container.State, killed bool) *harness.Ending {
	if killed && s.ExitCode == killedCode && !s.OOMKilled {
		return &harness.Ending{Code: -1, Signal: "killed"}
	}
	return &harness.Ending{Code: s.ExitCode}
}

const killedCode = 128 + 9

// rewatchAfter is the pause before the engine is asked again, should it not
// answer.
const rewatchAfter = 100 * time.Millisecond

// watchEnd notes the end of a node's life, whatever ends it.
func (c *Containers) watchEnd(n *node, life int) {
	for c.watching.Err() == nil {
		wait := c.engine.api.ContainerWait(c.watching, n.container.GetContainerID(),
			client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
		select {
		case <-wait.Result:
			if _, err := c.look(c.watching, n, life); err == nil {
				return
			}
		case <-wait.Error:
		case <-c.watching.Done():
		}
		select {
		case <-time.After(rewatchAfter):
		case <-c.watching.Done():
		}
	}
}

// reported is a time that the engine tells, if its clock is ours and it lies
// between two moments; otherwise the later of them.
func (e *engine) reported(text string, from, to time.Time) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !e.local || at.Before(from) || at.After(to) {
		return to
	}
	return at
}

// HTTP returns the address of a node's API, "" if there is no such node or it
// has none, without a network. It is another one after each start and
// reconnection; until then nobody answers at the old one.
func (c *Containers) HTTP(node string) string {
	n, err := c.on(node)
	if err != nil {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.http
}

// Ending says how a node's process ended; false while it runs.
func (c *Containers) Ending(node string) (harness.Ending, bool) {
	n, err := c.on(node)
	if err != nil {
		return harness.Ending{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ending == nil {
		return harness.Ending{}, false
	}
	return *n.ending, true
}
