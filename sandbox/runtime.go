package sandbox

import (
	"context"
	"io"
	"syscall"
	"time"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/message"
)

// Runtime starts programs: a driver. Package exec is the one there is.
type Runtime interface {
	// Start starts a program and returns when it runs. An error says that it
	// does not run, and why; when ctx ended first, nothing of it is left behind
	// either.
	Start(ctx context.Context, task Task) (Process, error)
}

// Task is one program to start.
type Task struct {
	PID  string            // Glassbox's pid: unique, also the mark the program is found by
	Exec []string          // the program and its arguments, at least the program
	Env  map[string]string // all of its environment, beside a PATH and the mark
	Dir  string            // absolute working directory; "" is "/"
	Log  *Log              // takes what it prints; nil drops it
	// Stdout takes the program's standard output instead of the log, and makes its
	// standard input a pipe, see [Process.Stdin]. It reads until the end; what it
	// leaves unread is dropped. Nil: standard input is empty.
	Stdout func(out io.Reader)
	// Sandbox is the uid of the sandbox it belongs to: programs of the same one
	// may share a user and a work folder, those of others may not.
	Sandbox string
	// Isolation is a level, or IsolationAuto; "" is auto.
	Isolation string
	// Network is NetworkHost or NetworkNone; "" is host.
	Network string
	// Mounts are shown inside; only IsolationNamespaces can.
	Mounts []Mount
	// Limits are what the program and its descendants may use; nil: no limits.
	Limits *Limits
}

// Stdin is a program's standard input. Closing it ends a write that waits.
type Stdin = message.Stdin

// Process is one started program and all its descendants: its tree.
type Process interface {
	// OSPID is the operating system's id of the program itself.
	OSPID() int
	// Isolation is what holds the program.
	Isolation() memdb.Isolation
	// Stdin is the program's standard input; nil without [Task.Stdout]. It is
	// closed when the process is done.
	Stdin() Stdin
	// Usage tells what the tree uses now.
	Usage() (Usage, error)
	// Signal sends a signal to the program itself, not to its descendants.
	Signal(sig syscall.Signal) error
	// Stop sends SIGTERM to the program, kills the tree after grace, and
	// returns when nothing of it is left. A grace of zero kills at once.
	Stop(grace time.Duration)
	// Kill kills the tree with SIGKILL and returns when nothing of it is left
	// or ctx ends; the killing goes on.
	Kill(ctx context.Context) error
	// Done is closed when nothing of the tree is left and all its output is in
	// the log; or, with the cause stuck, when the system does not let it end.
	Done() <-chan struct{}
	// Exit tells how the program ended. It is valid after Done is closed.
	Exit() memdb.Exit
}

// Usage is what a tree of processes uses.
type Usage struct {
	Processes int `json:"processes"`
	Threads   int `json:"threads"`
	Files     int `json:"files"` // open descriptors
	// RSSBytes is memory that is in use; what processes share counts for each.
	RSSBytes int64 `json:"rss_bytes"`
	// CPUMS is processor time since the start, in milliseconds, also of
	// processes that have ended, unless their parent had ended before them.
	CPUMS int64 `json:"cpu_ms"`
}

// Add adds what another tree uses.
func (u *Usage) Add(other Usage) {
	u.Processes += other.Processes
	u.Threads += other.Threads
	u.Files += other.Files
	u.RSSBytes += other.RSSBytes
	u.CPUMS += other.CPUMS
}

// Store takes the rows of this node's sandboxes and processes. Storing
// replaces the row of the same key, deleting what is not there is no error.
type Store interface {
	PutSandbox(row memdb.Sandbox) error
	DeleteSandbox(id string) error
	PutProcess(row memdb.Process) error
	// ReplaceProcess stores the row of a process that takes another one's place,
	// and deletes that one's, in one step: nobody sees neither.
	ReplaceProcess(previous string, row memdb.Process) error
	DeleteProcess(pid string) error
}
