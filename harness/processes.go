package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/glassbox-dev/glassbox/server/client"
)

// ProcessOptions say which cluster to start on this machine.
type ProcessOptions struct {
	Binary string // the node's program; [Build] makes it
	// HTTP and RPC are the nodes' addresses; nil takes free ones of loopback.
	HTTP, RPC []string
	Nodes     int      // named n1, n2, …
	Dir       string   // for the logs, must exist; "" is a folder that Close removes
	Preset    string   // failure detection: local, lan or wan; "" is lan
	Flags     []string // further flags of every node
	// Data is a folder in which each node has a data folder of its own, named as it
	// is; "" keeps nothing.
	Data string
	Env  []string // the nodes' environment; nil is the harness's own without GLASSBOX_ variables
	// Break makes the links breakable: the nodes get --allow-faults.
	Break bool
	// Args changes a node's command line, to start it wrongly on purpose.
	Args func(node string, args []string) []string
}

// Processes is a cluster of processes on this machine. They end with the
// process that started them, whatever ends it.
type Processes struct {
	opts    ProcessOptions
	nodes   []*Node
	started time.Time

	temporary bool // opts.Dir is ours to remove

	mu     sync.Mutex
	broken map[string]bool   // nodes that hold faults
	logs   map[string]string // kept when the temporary folder was removed
}

var _ Cluster = (*Processes)(nil)

// StartProcesses starts the nodes and returns without waiting for them to form.
func StartProcesses(ctx context.Context, o ProcessOptions) (*Processes, error) {
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return nil, fmt.Errorf("a cluster has 1 to %d nodes, not %d", MaxNodes, o.Nodes)
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return nil, fmt.Errorf("the node's binary is missing (make build makes it): %w", err)
	}
	for _, addr := range slices.Concat(o.HTTP, o.RPC) {
		if err := checkFree(addr); err != nil {
			return nil, err
		}
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
	p := &Processes{opts: o, broken: map[string]bool{}, logs: map[string]string{}}
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "glassbox-nodes-")
		if err != nil {
			return nil, fmt.Errorf("a folder for the logs: %w", err)
		}
		p.opts.Dir, p.temporary = dir, true
	}
	for i, name := range names(o.Nodes) {
		p.nodes = append(p.nodes, &Node{Name: name, HTTP: o.HTTP[i], RPC: o.RPC[i], cluster: p})
	}
	p.started = time.Now()
	for _, n := range p.nodes {
		if err := n.Start(ctx); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// checkFree says so if an address is taken: whoever has it would answer in the
// node's place.
func checkFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("an address of a node is not free: %w", err)
	}
	return l.Close()
}

// StartOn returns what starts such clusters, as a scenario needs them: it says
// how many nodes, and whether their links can be broken. All use the same folder
// for logs, one after the other.
func StartOn(o ProcessOptions) Starter {
	return func(ctx context.Context, s Setup) (Cluster, error) {
		if o.Nodes != 0 && o.Nodes != s.Nodes {
			return nil, fmt.Errorf("%d nodes were asked for in ProcessOptions, but %d are run; say it in Options.Nodes", o.Nodes, s.Nodes)
		}
		o := o
		o.Nodes, o.Break = s.Nodes, o.Break || s.Break
		for _, node := range names(s.Nodes) { // of the cluster before
			if o.Dir == "" {
				break // each has its own
			}
			if err := os.Remove(filepath.Join(o.Dir, node+".log")); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
		}
		p, err := StartProcesses(ctx, o)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
}

// Ports for nodes: below those that Linux hands out by itself
// (net.ipv4.ip_local_port_range begins at 32768), or any connection that is made
// could have one before its node does, or while that is down.
const (
	firstPort = 10_000
	lastPort  = 32_000
	portTries = 1000
)

// FreeAddrs returns loopback addresses that nobody listened on a moment ago.
func FreeAddrs(n int) ([]string, error) {
	var addrs []string
	for range portTries {
		if len(addrs) == n {
			return addrs, nil
		}
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		defer l.Close() // all at the end, so that none is given twice
		addrs = append(addrs, addr)
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d were found in %d tries", n, firstPort, lastPort, portTries)
}

// Nodes returns all nodes, running or not.
func (p *Processes) Nodes() []*Node { return p.nodes }

// Node returns a node by name, nil if there is none.
func (p *Processes) Node(name string) *Node {
	i := slices.IndexFunc(p.nodes, func(n *Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return p.nodes[i]
}

// Running returns the nodes whose process runs.
func (p *Processes) Running() []*Node {
	return slices.DeleteFunc(slices.Clone(p.nodes), func(n *Node) bool { return !n.Running() })
}

// Target is [TargetProcess].
func (p *Processes) Target() Target { return TargetProcess }

// Names lists all nodes.
func (p *Processes) Names() []string { return names(len(p.nodes)) }

// Started is when the first process was started.
func (p *Processes) Started() time.Time { return p.started }

// on does something with a node that must be there.
func (p *Processes) on(node string, f func(*Node) error) error {
	n := p.Node(node)
	if n == nil {
		return fmt.Errorf("no node %q; there are %v", node, p.Names())
	}
	return f(n)
}

// Start starts a node that does not run.
func (p *Processes) Start(ctx context.Context, node string) error {
	return p.on(node, func(n *Node) error { return n.Start(ctx) })
}

// Stop sends SIGTERM and returns when the process has ended.
func (p *Processes) Stop(_ context.Context, node string) error { return p.on(node, (*Node).Stop) }

// Kill sends SIGKILL. The end is counted from before it was sent: the kernel
// reports it to us after the peers' connections were closed.
func (p *Processes) Kill(_ context.Context, node string) (time.Time, error) {
	now := time.Now()
	return now, p.on(node, (*Node).Kill)
}

// Freeze sends SIGSTOP.
func (p *Processes) Freeze(_ context.Context, node string) (time.Time, error) {
	now := time.Now()
	return now, p.on(node, (*Node).Freeze)
}

// Thaw sends SIGCONT.
func (p *Processes) Thaw(_ context.Context, node string) (time.Time, error) {
	now := time.Now()
	return now, p.on(node, (*Node).Thaw)
}

// faultTTL is after when a fault heals by itself, should nobody heal it.
const faultTTL = 10 * time.Minute

// faultTimeout is how long a node may take to accept a fault.
const faultTimeout = 2 * time.Second

// Break asks the link's node to break it, by the operations fault.*.
func (p *Processes) Break(ctx context.Context, l Link) (time.Time, error) {
	now := time.Now()
	if l.Loss > 0 {
		return now, errors.New("packets cannot be lost between processes on loopback; the target docker can")
	}
	p.mu.Lock()
	p.broken[l.Node] = true
	p.mu.Unlock()
	for _, peer := range p.Names() {
		if peer == l.Node || l.Peer != "" && peer != l.Peer {
			continue
		}
		method, params := "fault.cut", map[string]any{"peer": peer, "direction": l.direction(), "ttl_ms": faultTTL.Milliseconds()}
		if l.Delay > 0 {
			method, params["ms"] = "fault.delay", l.Delay.Milliseconds()
		}
		if err := p.ask(ctx, l.Node, method, params); err != nil {
			return now, err
		}
	}
	return now, nil
}

func (p *Processes) ask(ctx context.Context, node, method string, params map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	c := &client.Client{Addr: p.HTTP(node)}
	if err := c.Call(ctx, method, params, nil); err != nil {
		return fmt.Errorf("%s on %s: %w", method, node, err)
	}
	return nil
}

// Heal ends all faults of all nodes that run.
func (p *Processes) Heal(ctx context.Context) (time.Time, error) {
	now := time.Now()
	p.mu.Lock()
	broken := slices.Sorted(maps.Keys(p.broken))
	p.mu.Unlock()
	var all error
	for _, node := range broken {
		if n := p.Node(node); n != nil && n.Running() { // the faults of one that ended are over
			if err := p.ask(ctx, node, "fault.heal", map[string]any{}); err != nil {
				all = errors.Join(all, err)
				continue
			}
		}
		p.mu.Lock()
		delete(p.broken, node)
		p.mu.Unlock()
	}
	return now, all
}

// HTTP returns the address of a node's API, "" if there is no such node.
func (p *Processes) HTTP(node string) string {
	if n := p.Node(node); n != nil {
		return n.HTTP
	}
	return ""
}

// Ending says how a node's process ended; false while it runs.
func (p *Processes) Ending(node string) (Ending, bool) {
	n := p.Node(node)
	if n == nil {
		return Ending{}, false
	}
	state := n.state()
	if state == nil {
		return Ending{}, false
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return Ending{Code: -1, Signal: status.Signal().String()}, true
	}
	return Ending{Code: state.ExitCode()}, true
}

// Memory reads a node's VmRSS.
func (p *Processes) Memory(_ context.Context, node string) (Memory, error) {
	n := p.Node(node)
	if n == nil {
		return Memory{}, fmt.Errorf("no node %q", node)
	}
	rss, err := RSS(n.PID())
	return Memory{RSS: rss}, err
}

// Log returns what a node has logged.
func (p *Processes) Log(_ context.Context, node string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if log, kept := p.logs[node]; kept {
		return log, nil
	}
	raw, err := os.ReadFile(filepath.Join(p.opts.Dir, node+".log"))
	return string(raw), err
}

// Close ends all nodes, gently first, and returns when they have ended.
func (p *Processes) Close() error {
	errs := make(chan error, len(p.nodes))
	for _, n := range p.nodes {
		go func() { errs <- n.Stop() }()
	}
	var all error
	for range p.nodes {
		all = errors.Join(all, <-errs)
	}
	return errors.Join(all, p.tidy())
}

// tidy removes the folder of the logs if it is ours, and keeps them.
func (p *Processes) tidy() error {
	if !p.temporary {
		return nil
	}
	for _, n := range p.nodes {
		log, err := p.Log(context.Background(), n.Name)
		if err != nil {
			continue // it was never started
		}
		p.mu.Lock()
		p.logs[n.Name] = log
		p.mu.Unlock()
	}
	return os.RemoveAll(p.opts.Dir)
}
