package node

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/glassbox-dev/glassbox/internal/peercred"
)

// closedPorts are the TCP ports that confined programs can neither connect to nor
// bind: this node's own, and those of other nodes on this machine that it knows of,
// where a loopback client needs no token. There are only ever more: each other set
// costs the guardian a thread. What is running when another node is added is turned
// away by that one, see package peercred.
func (n *Node) closedPorts() []int {
	n.closedMu.Lock()
	defer n.closedMu.Unlock()
	add := func(addr string) {
		if _, text, err := net.SplitHostPort(addr); err == nil {
			if port, err := strconv.Atoi(text); err == nil && !slices.Contains(n.closed, port) {
				n.closed = append(n.closed, port)
			}
		}
	}
	add(n.HTTP())
	add(n.RPC())
	others := slices.Collect(maps.Values(n.cfg.Peers)) // also before they are started
	for _, row := range n.db.View().Nodes() {
		others = append(others, row.HTTP, row.RPC)
	}
	for _, addr := range others {
		if host, _, err := net.SplitHostPort(addr); err == nil && isOurs(host) {
			add(addr)
		}
	}
	slices.Sort(n.closed)
	return slices.Clone(n.closed)
}

// isOurs reports whether a host is an address of this machine. Names are not looked
// up, but for that of the loopback address.
func isOurs(host string) bool {
	ip, err := netip.ParseAddr(host)
	return isLoopback(host) || err == nil && peercred.IsLocal(ip)
}

// protected are this node's own files and folders, which no program may see.
func (c Config) protected() []string {
	var paths []string
	for _, path := range []string{c.SecretFile, c.TokenFile, c.DataDir} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}
