package testcontainers

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/moby/moby/client"
	tc "github.com/testcontainers/testcontainers-go"
)

// The library reads these once, at its first call.
const (
	ryukDisabled = "TESTCONTAINERS_RYUK_DISABLED"
	hostOverride = "TESTCONTAINERS_HOST_OVERRIDE"
)

// prepareLibrary sets what testcontainers-go would get wrong here, by the
// variables it reads, where nobody has said otherwise. It asks the engine by a
// client of its own, since any call of the library would settle its settings.
func prepareLibrary(ctx context.Context) error {
	api, err := findEngine(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	// Our own reaper always runs; Ryuk would only be one more thing to fail.
	setUnlessSaid(ryukDisabled, "true") // no other word disables it
	if mistakenForContainer(ctx, api) {
		setUnlessSaid(hostOverride, "localhost")
	}
	return nil
}

func setUnlessSaid(variable, value string) {
	if _, said := os.LookupEnv(variable); !said {
		os.Setenv(variable, value)
	}
}

// mistakenForContainer reports whether the library will take this process for
// one in a container beside the engine's others, and look for published ports
// at the bridge, though that bridge is here: a machine that is itself a container
// with an engine inside has /.dockerenv too.
func mistakenForContainer(ctx context.Context, api client.APIClient) bool {
	if _, err := os.Stat("/.dockerenv"); err != nil || !strings.HasPrefix(api.DaemonHost(), "unix://") {
		return false
	}
	bridge, err := api.NetworkInspect(ctx, tc.Bridge, client.NetworkInspectOptions{})
	if err != nil {
		return false
	}
	_, err = net.InterfaceByName(bridge.Network.Options["com.docker.network.bridge.name"])
	return err == nil
}

// ourNetworks lists the addresses of this machine, each with its network.
func ourNetworks() []netip.Prefix {
	addrs, _ := net.InterfaceAddrs() // if they cannot be read there are none to mind
	var list []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p)
		}
	}
	return list
}
