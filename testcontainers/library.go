package testcontainers

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"path"
	"strings"
	"time"

	"github.com/moby/moby/client"
	tc "github.com/testcontainers/testcontainers-go"
)

// The library reads these once, at its first call.
const (
	ryukDisabled = "TESTCONTAINERS_RYUK_DISABLED"
	hostOverride = "TESTCONTAINERS_HOST_OVERRIDE"
	imagePrefix  = "TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX"
)

// prepareLibrary sets what testcontainers-go would get wrong here, by the
// variables it reads, where nobody has said otherwise. It asks the engine by a
// client of its own, since any call of the library would settle its settings.
// An engine that only the library finds is left to the library; but where
// somebody has said which one to use, there must be one: the library would take
// any other.
func prepareLibrary() error {
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	api, err := client.New(client.FromEnv)
	if err == nil {
		defer api.Close()
		_, err = api.Ping(ctx, client.PingOptions{})
	}
	if err != nil {
		if os.Getenv(client.EnvOverrideHost) == "" {
			err = nil
		}
		return err
	}
	if _, said := os.LookupEnv(ryukDisabled); !said && !canHave(ctx, api, ryukImage()) {
		os.Setenv(ryukDisabled, "true") // no other word disables it
	}
	if _, said := os.LookupEnv(hostOverride); !said && mistakenForContainer(ctx, api) {
		os.Setenv(hostOverride, "localhost")
	}
	return nil
}

// prepareTimeout is enough to pull Ryuk's image, which has a few megabytes.
const prepareTimeout = time.Minute

// ryukImage is the image of the library's own reaper, without which it starts
// no container.
func ryukImage() string {
	//lint:ignore SA1019 there is no other way to learn its name
	return path.Join(os.Getenv(imagePrefix), tc.ReaperDefaultImage)
}

// canHave reports whether the engine has an image or could pull it; then it has.
func canHave(ctx context.Context, api client.APIClient, image string) bool {
	if _, err := api.ImageInspect(ctx, image); err == nil {
		return true
	}
	pull, err := api.ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return false
	}
	defer pull.Close()
	if _, err := io.Copy(io.Discard, pull); err != nil { // it is pulled when this ends
		return false
	}
	_, err = api.ImageInspect(ctx, image)
	return err == nil
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
