package sandbox

import "github.com/glassbox-dev/glassbox/memdb"

// EventType names what happened, in the past tense.
type EventType string

// The types of event.
const (
	SandboxCreated   EventType = "SandboxCreated"   // its row is stored; Data is the memdb.Sandbox
	SandboxRunning   EventType = "SandboxRunning"   // all children were started; memdb.Sandbox
	SandboxFailed    EventType = "SandboxFailed"    // it gave up and nothing of it runs; memdb.Sandbox
	SandboxRestarted EventType = "SandboxRestarted" // nothing of it is left and it starts again; memdb.Sandbox
	SandboxDropped   EventType = "SandboxDropped"   // kept on disk, and not to be started again; memdb.Sandbox
	SandboxDestroyed EventType = "SandboxDestroyed" // nothing of it is left; memdb.Sandbox, its last row
	ProcessStarted   EventType = "ProcessStarted"   // first start of a slot; memdb.Process
	ProcessExited    EventType = "ProcessExited"    // ended or could not be started; memdb.Process
	ProcessRestarted EventType = "ProcessRestarted" // a slot runs again; [Restarted]
)

// Event is one thing that happened to a sandbox of this node.
type Event struct {
	Type    EventType
	Subject string // the sandbox's id or the process's pid
	Data    any    // as said at the type
	Why     string // the cause, for people; may be empty
}

// Restarted is the data of [ProcessRestarted].
type Restarted struct {
	memdb.Process        // the new process
	Previous      string `json:"previous"` // the pid it replaces
}
