package harness

import (
	"context"
	"fmt"
	"time"
)

// Target is a kind of cluster.
type Target string

// The targets.
const (
	TargetProcess Target = "process" // real binaries on loopback: [StartProcesses]
	TargetDocker  Target = "docker"  // containers: package testcontainers
	TargetSim     Target = "sim"     // simulated: package harness/sim
)

// Cluster is a number of nodes that know each other, and what can be done to
// them. Nodes are named n1, n2, …; the links between them can be broken. All
// methods may be called from several goroutines at once.
//
// What breaks something returns when that took effect, by this machine's clock:
// the last moment before which it certainly had not. A target that reports when
// a killed node's process ended returns that instead: an engine takes its time.
type Cluster interface {
	Target() Target
	// Names lists all nodes, running or not.
	Names() []string
	// Started is when the formation of the cluster is counted from.
	Started() time.Time
	// Start starts a node that does not run: a new incarnation of it.
	Start(ctx context.Context, node string) error
	// Stop asks a node to leave and returns when its process has ended.
	Stop(ctx context.Context, node string) error
	// Kill ends a node without a word.
	Kill(ctx context.Context, node string) (time.Time, error)
	// Freeze stops a node without ending it; Thaw lets it go on.
	Freeze(ctx context.Context, node string) (time.Time, error)
	Thaw(ctx context.Context, node string) (time.Time, error)
	// Break breaks a link; Heal mends all that are broken.
	Break(ctx context.Context, l Link) (time.Time, error)
	Heal(ctx context.Context) (time.Time, error)
	// HTTP is the host:port of a node's API. It may change when the node is
	// started again or its network mended: ask each time.
	HTTP(node string) string
	// Ending says how a node's process ended; false while it runs.
	Ending(node string) (Ending, bool)
	// Memory reads a node's resident memory.
	Memory(ctx context.Context, node string) (Memory, error)
	// Log returns what a node has logged, of all its incarnations.
	Log(ctx context.Context, node string) (string, error)
	// Close ends everything. Nodes that run are asked to leave first.
	Close() error
}

// Link is the way between a node and a peer, or all its peers if Peer is "".
type Link struct {
	Node, Peer string
	Direction  Direction
	// Delay holds everything back for so long; zero cuts the link.
	Delay time.Duration
	// Loss is the share of packets that are lost, between 0 and 1, where the
	// target has packets (docker); with it the link is not cut.
	Loss float64
}

// Direction is seen from the link's Node; "" is [Both].
type Direction string

// The directions.
const (
	Both Direction = "both"
	In   Direction = "in"  // what comes from the peer
	Out  Direction = "out" // what goes to it
)

// Ending is how a node's process ended.
type Ending struct {
	Code   int    // exit code, -1 after a signal
	Signal string // "killed"; "" after an exit
}

// String is it in words.
func (e Ending) String() string {
	if e.Signal != "" {
		return "signal: " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// Crashed reports whether it is the end of neither a node that was asked to
// leave and did, exit code 0, nor of one that was killed.
func (e Ending) Crashed() bool { return e.Code > 0 || e.Signal != "" && e.Signal != "killed" }

// Memory is a node's resident memory.
type Memory struct {
	RSS int64 // VmRSS in bytes: the binary's own pages count
	// Charged is what the container is charged with in bytes, which counts
	// pages of files once for all containers; 0 where there is none.
	Charged int64
}
