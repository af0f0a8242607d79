package memdb

import (
	"encoding/json"
	"time"
)

// The rows. A row belongs to one origin node, its only writer, and is
// immutable once stored: to change one, store another with the same key.

// Node is what a node says of itself.
type Node struct {
	Name    string    `json:"name"`
	HTTP    string    `json:"http"`    // host:port of its API
	RPC     string    `json:"rpc"`     // host:port other nodes reach it at
	Version string    `json:"version"` // of its binary
	OSPID   int       `json:"os_pid"`
	Started time.Time `json:"started"`
}

// SandboxStatus is the observed state of a sandbox.
type SandboxStatus string

// Observed states of a sandbox. Unknown is never stored: it is what readers
// see of a sandbox whose host is dead.
const (
	SandboxStarting SandboxStatus = "starting"
	SandboxRunning  SandboxStatus = "running"
	SandboxStopping SandboxStatus = "stopping"
	SandboxStopped  SandboxStatus = "stopped"
	SandboxFailed   SandboxStatus = "failed"
	SandboxUnknown  SandboxStatus = "unknown"
)

// Sandbox is a supervision tree: its desired state (the spec) and its
// observed one (status).
type Sandbox struct {
	ID       string            `json:"id"`
	UID      string            `json:"uid"` // one per creation
	Node     string            `json:"node"`
	Status   SandboxStatus     `json:"status"`
	Why      string            `json:"why,omitempty"` // of the status
	Epoch    uint64            `json:"epoch"`         // raised by failover only
	Failover string            `json:"failover"`
	Labels   map[string]string `json:"labels,omitempty"`
	Created  time.Time         `json:"created"`
	Spec     json.RawMessage   `json:"spec,omitempty"` // left out of lists and events
}

// ProcessType tells workers, which run a program, from supervisors.
type ProcessType string

// The types of process.
const (
	Worker     ProcessType = "worker"
	Supervisor ProcessType = "supervisor"
)

// ProcessState is the observed state of a process.
type ProcessState string

// Observed states of a process.
const (
	ProcessStarting ProcessState = "starting"
	ProcessRunning  ProcessState = "running"
	ProcessStopping ProcessState = "stopping"
	ProcessExited   ProcessState = "exited" // ended and not to be restarted
	ProcessFailed   ProcessState = "failed" // could not be started, or gave up
)

// Process is one start of a child. Its PID is never used again: a restart is
// a new process in the same slot (sandbox, child).
type Process struct {
	PID      string       `json:"pid"`
	Node     string       `json:"node"`
	Sandbox  string       `json:"sandbox"`
	Child    string       `json:"child"` // the child's id; "" for the sandbox's root supervisor
	Type     ProcessType  `json:"type"`
	State    ProcessState `json:"state"`
	Name     string       `json:"name,omitempty"` // registered name
	OSPID    int          `json:"os_pid,omitempty"`
	Started  time.Time    `json:"started"`
	Restarts int          `json:"restarts"` // how often the slot was restarted
	Isolation
	Exit *Exit `json:"exit,omitempty"` // how it ended, or how its predecessor in the slot did
}

// Isolation is what holds a process.
type Isolation struct {
	Level   string   `json:"isolation"`                   // none, process or namespaces
	Have    []string `json:"isolation_have,omitempty"`    // the primitives that hold it, as node.info names them
	Missing []string `json:"isolation_missing,omitempty"` // those that the level would use, had this machine them
}

// Ended reports whether the process has ended for good.
func (p Process) Ended() bool { return p.State == ProcessExited || p.State == ProcessFailed }

// ExitCause says in one word why a process ended.
type ExitCause string

// The causes of an exit.
const (
	CauseExited      ExitCause = "exited"       // by itself, with Code
	CauseSignaled    ExitCause = "signaled"     // by Signal, from outside Glassbox
	CauseOOM         ExitCause = "oom"          // it, or what it started, used more memory than its limit
	CauseTimeout     ExitCause = "timeout"      // it ran for longer than its limit
	CauseOutputLimit ExitCause = "output_limit" // it printed more than its limit
	CauseStartFailed ExitCause = "start_failed" // never ran
	CauseKilled      ExitCause = "killed"       // by an operation or its supervisor; By says who
	CauseLost        ExitCause = "lost"         // its guardian died
	CauseStuck       ExitCause = "stuck"        // killed, but the system does not let it end; Detail says what is left
)

// Exit is how a process ended.
type Exit struct {
	Cause  ExitCause `json:"cause"`
	Code   int       `json:"code"`             // exit code; 128+n for signal n, as a shell has it
	Signal string    `json:"signal,omitempty"` // "SIGKILL"
	By     string    `json:"by,omitempty"`     // who killed it and why
	Detail string    `json:"detail,omitempty"` // the error of a failed start
	At     time.Time `json:"at"`
}

// Claim is one node's statement that it holds a name: for itself, for one of its
// processes, or for a slot, whatever process is in it.
type Claim struct {
	Name string `json:"name"`
	Node string `json:"node"`
	PID  string `json:"pid,omitempty"` // of the process that holds it; "": the node or the slot
	// Sandbox and Child name the slot that holds it; "": the node or the process.
	Sandbox string          `json:"sandbox,omitempty"`
	Child   string          `json:"child,omitempty"`
	Value   json.RawMessage `json:"value,omitempty"`
	Epoch   uint64          `json:"epoch,omitempty"` // raised by failover only
	// Stamp is when it was made, in microseconds of the hybrid logical clock:
	// no clock of any node is behind what it has seen, so cause and effect are
	// in order, and between nodes it is as good as their clocks.
	Stamp uint64 `json:"stamp"`
	// Since is the number of the change that made the claim: it is confirmed
	// once all have acknowledged its origin's changes up to there.
	Since uint64 `json:"since"`
}

// SameHolder reports whether two claims are the same holder's.
func (c Claim) SameHolder(other Claim) bool {
	return c.Node == other.Node && c.PID == other.PID && c.Sandbox == other.Sandbox && c.Child == other.Child
}

// Registered is when the claim was made, by its node's clock.
func (c Claim) Registered() time.Time { return time.UnixMicro(int64(c.Stamp)).UTC() }
