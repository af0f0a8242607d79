package testcontainers

import (
	"debug/elf"
	"fmt"
	"os"
	"time"

	"github.com/glassbox-dev/glassbox/harness"
)

// Options say which cluster to start.
type Options struct {
	// Binary is the node's program, static: the image has nothing else.
	// harness.Build makes it.
	Binary string
	// Helper is the program testcontainers/netfault, static, which is in the image
	// too; "" compiles it, once for each process.
	Helper string
	Nodes  int      // 1 to harness.MaxNodes, named n1, n2, …
	Preset string   // failure detection: local, lan or wan; "" is lan
	Flags  []string // further flags of every node
	// AllowFaults starts the nodes with --allow-faults, which the delay of a
	// link needs. All other faults are made from outside.
	AllowFaults bool
	// Dir is where the nodes' logs are written when the cluster is closed, each
	// as NAME.log; "" is nowhere. It is made if it is missing, and a later cluster
	// with the same one overwrites them.
	Dir string
}

// The ports of every node in its container.
const (
	httpPort = 4000
	rpcPort  = 4100
)

// stopTimeout is how long a node may take to end before the engine kills it:
// longer than it waits for its sandboxes, which is 10 s unless a flag says
// otherwise.
const stopTimeout = 15 * time.Second

func (o Options) check() error {
	if o.Nodes < 1 || o.Nodes > harness.MaxNodes {
		return fmt.Errorf("a cluster has 1 to %d nodes, not %d", harness.MaxNodes, o.Nodes)
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return fmt.Errorf("the node's binary is missing (harness.Build makes it): %w", err)
	}
	if err := checkStatic(o.Binary); err != nil {
		return err
	}
	if o.Helper == "" {
		return nil
	}
	if _, err := os.Stat(o.Helper); err != nil {
		return fmt.Errorf("the helper's binary is missing (harness.BuildProgram makes it of %s): %w", helperProgram, err)
	}
	return checkStatic(o.Helper)
}

func (o Options) makeDir() error {
	if o.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return fmt.Errorf("a folder for the nodes' logs: %w", err)
	}
	return nil
}

// checkStatic refuses what would not start in an empty container: the engine
// would only say that there is no such file.
func checkStatic(binary string) error {
	f, err := elf.Open(binary)
	if err != nil {
		return fmt.Errorf("%s is no program for Linux (harness.Build makes one there): %w", binary, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static, so it would not start in an empty container; build it with CGO_ENABLED=0, as harness.Build does", binary)
		}
	}
	return nil
}

// command is a node's command line behind the program's name.
func (o Options) command(n *node, all []*node) []string {
	args := []string{
		"serve", "--name", n.name,
		// Nobody but the peers and this machine reaches the container, yet the node
		// cannot know: any address but loopback makes it demand a secret and a token.
		"--http", fmt.Sprintf("0.0.0.0:%d", httpPort), "--token-file", tokenFile,
		"--rpc", fmt.Sprintf("0.0.0.0:%d", rpcPort), "--secret-file", secretFile,
		"--advertise", n.rpc(),
	}
	for _, peer := range all {
		if peer != n {
			args = append(args, "--peer", peer.name+"="+peer.rpc())
		}
	}
	if o.Preset != "" {
		args = append(args, "--preset", o.Preset)
	}
	if o.AllowFaults {
		args = append(args, "--allow-faults")
	}
	return append(args, o.Flags...)
}
