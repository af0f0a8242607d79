package testcontainers

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"
	tc "github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"golang.org/x/sys/unix"
)

// engine is the Docker engine that this process uses.
type engine struct {
	provider *tc.DockerProvider
	api      client.APIClient
	// local: it uses the kernel of this machine, so that its clock is ours. One in
	// a virtual machine has a socket here, too.
	local bool
	arch  string // of its machine, as uname says it
	// host is where published ports are reached, and publish the only address
	// they are published at; invalid is all of the engine's machine.
	host    string
	publish netip.Addr
	label   string      // the value that everything this process makes is labelled with
	gaveUp  atomic.Bool // on something that the engine may still make
}

// connectTimeout bounds the search for an engine.
const connectTimeout = 10 * time.Second

// theEngine connects to the engine, once for this process: the library decides
// once, too, from the environment it finds.
var theEngine = sync.OnceValues(func() (*engine, error) {
	if !reapable.Load() {
		return nil, errors.New("this program cannot clean up after itself: " +
			"call testcontainers.Main(m) in TestMain, or testcontainers.Reap() first thing in main")
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	e, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := e.startReaper(); err != nil {
		return nil, err
	}
	return e, nil
})

func connect(ctx context.Context) (*engine, error) {
	if err := prepareLibrary(ctx); err != nil {
		return nil, err
	}
	provider, err := tc.NewDockerProvider(tc.Generic2DockerOptions(tc.WithLogger(log.NewNoopLogger()))...)
	if err != nil {
		return nil, err
	}
	e := &engine{provider: provider, api: provider.Client(), label: randomID()}
	about, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, noAnswer(e.api.DaemonHost(), err)
	}
	e.arch = about.Info.Architecture
	e.local = strings.HasPrefix(e.api.DaemonHost(), "unix://") && about.Info.KernelVersion == ourKernel()
	host, err := provider.DaemonHost(ctx)
	if err != nil {
		return nil, err
	}
	e.host, e.publish = reachable(host, e.local)
	return e, nil
}

// ourKernel is the version of this machine's.
func ourKernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
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
