package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"
	tc "github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
)

// The networks of clusters are parts of the range that is set aside for
// measuring networks (RFC 2544): no real one is there.
var networkRange = netip.MustParsePrefix("198.18.0.0/15")

const (
	networkBits  = 26 // 62 hosts: more than harness.MaxNodes and the gateway
	networkTries = 20
)

// createNetwork makes a network whose addresses nobody else uses. It needs
// addresses of its own: the engine allows static ones only there.
func (e *engine) createNetwork(ctx context.Context, labels map[string]string) (*tc.DockerNetwork, netip.Prefix, error) {
	for range networkTries {
		subnet := randomSubnet()
		if slices.ContainsFunc(ourNetworks(), subnet.Overlaps) {
			continue
		}
		n, err := tcnetwork.New(ctx, tcnetwork.WithLabels(labels), tcnetwork.WithIPAM(&network.IPAM{
			Driver: "default", Config: []network.IPAMConfig{{Subnet: subnet, Gateway: subnet.Addr().Next()}},
		}))
		if err == nil {
			return n, subnet, nil
		}
		if !strings.Contains(err.Error(), "overlaps") { // with another cluster's
			return nil, netip.Prefix{}, fmt.Errorf("create a network: %w", err)
		}
	}
	return nil, netip.Prefix{}, errors.New("create a network: no free addresses in " + networkRange.String() +
		"; `docker network prune` removes networks that nothing uses")
}

// randomSubnet is one of the range's parts.
func randomSubnet() netip.Prefix {
	part := rand.IntN(1 << (networkBits - networkRange.Bits()))
	addr := networkRange.Addr().As4()
	offset := part << (32 - networkBits)
	addr[1] += byte(offset >> 16)
	addr[2] += byte(offset >> 8)
	addr[3] += byte(offset)
	return netip.PrefixFrom(netip.AddrFrom4(addr), networkBits)
}

// nodeAddr is the address of the i-th node: behind the network's own and the
// gateway's.
func nodeAddr(subnet netip.Prefix, i int) netip.Addr {
	addr := subnet.Addr().As4()
	addr[3] += byte(2 + i)
	return netip.AddrFrom4(addr)
}
