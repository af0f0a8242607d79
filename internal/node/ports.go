package node

import (
	"net"
	"slices"
	"strconv"
)

// closedPorts are the TCP ports that confined programs cannot connect to: this
// node's own, and those of other nodes on this machine, where a loopback client
// needs no token. There are only ever more: each other set costs the guardian a
// thread.
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
	for _, row := range n.db.View().Nodes() {
		for _, addr := range []string{row.HTTP, row.RPC} {
			if host, _, err := net.SplitHostPort(addr); err == nil && isLoopback(host) {
				add(addr)
			}
		}
	}
	slices.Sort(n.closed)
	return slices.Clone(n.closed)
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
