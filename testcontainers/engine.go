package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	tc "github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// engine is the Docker engine that this process uses.
type engine struct {
	provider *tc.DockerProvider
	api      client.APIClient
	// local: it is on this machine, so that its clock is ours.
	local bool
	// host is where published ports are reached, and publish the only address
	// they are published at; invalid is all of the engine's machine.
	host    string
	publish netip.Addr
	label   string // the value that everything this process makes is labelled with
}

// pingTimeout is how long an engine may take to answer.
const pingTimeout = 5 * time.Second

// theEngine connects to the engine, once for this process: the library decides
// once, too, from the environment it finds.
var theEngine = sync.OnceValues(func() (*engine, error) {
	if !reapable.Load() {
		return nil, errors.New("this program cannot clean up after itself: " +
			"call testcontainers.Main(m) in TestMain, or testcontainers.Reap() first thing in main")
	}
	e, err := connect()
	if err != nil {
		return nil, fmt.Errorf("no Docker engine (start one, or say in DOCKER_HOST where it is): %w", err)
	}
	if err := e.startReaper(); err != nil {
		return nil, err
	}
	return e, nil
})

func connect() (*engine, error) {
	if err := prepareLibrary(); err != nil {
		return nil, err
	}
	provider, err := tc.NewDockerProvider(tc.Generic2DockerOptions(tc.WithLogger(log.NewNoopLogger()))...)
	if err != nil {
		return nil, err
	}
	e := &engine{provider: provider, api: provider.Client(), label: randomID()}
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	if _, err := e.api.Ping(ctx, client.PingOptions{}); err != nil {
		return nil, err
	}
	e.local = strings.HasPrefix(e.api.DaemonHost(), "unix://")
	host, err := provider.DaemonHost(ctx)
	if err != nil {
		return nil, err
	}
	e.host, e.publish = reachable(host, e.local)
	return e, nil
}

// reachable says where a port is reached that is published by an engine whose
// host is named so, and at which address to publish it so that nobody else
// reaches it.
func reachable(host string, local bool) (string, netip.Addr) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "localhost" || err == nil && addr.IsLoopback():
		return loopback.String(), loopback
	case local && err == nil: // we are in a container beside: the engine's bridge
		return host, addr
	default: // another machine
		return host, netip.Addr{}
	}
}
