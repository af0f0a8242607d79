package sandbox

import (
	"time"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// Spec is the desired state of a sandbox, as its creator writes it. What is
// left out is filled in by [Spec.WithDefaults]; what this version cannot do is
// a fault, never ignored.
type Spec struct {
	// ID is 1 to 63 of a-z, 0-9, "-", "_" and ".", beginning with a letter or digit.
	ID string `json:"id" doc:"1 to 63 of a-z, 0-9, -, _ and ., beginning with a letter or digit"`
	// Labels are for people and filters; they change nothing.
	Labels map[string]string `json:"labels,omitempty" doc:"for people and filters"`
	// Strategy says who is restarted when a child ends: one_for_one, one_for_all or
	// rest_for_one; "" is one_for_one.
	Strategy string `json:"strategy,omitempty" doc:"one_for_one, one_for_all or rest_for_one; one_for_one if left out"`
	// MaxRestarts is how many restarts within MaxSeconds are tolerated; nil is 3.
	MaxRestarts *int `json:"max_restarts,omitempty" doc:"how many restarts within max_seconds are tolerated; 3 if left out"`
	// MaxSeconds is the window restarts are counted in; nil is 5.
	MaxSeconds *int `json:"max_seconds,omitempty" doc:"the window restarts are counted in; 5 if left out"`
	// Children are started in this order and stopped in reverse. There may be none:
	// more can be started later.
	Children []Child `json:"children" doc:"started in this order and stopped in reverse; each a program or a supervisor"`
	// Isolation is "auto", "none", "process" or "namespaces"; "" is auto, the
	// strongest that the node has.
	Isolation string `json:"isolation,omitempty" doc:"auto, none, process or namespaces; auto, the strongest the node has, if left out"`
	// Network is "host" or "none"; "" is host. None needs isolation.
	Network string `json:"network,omitempty" doc:"host or none; host if left out"`
	// Mounts are folders of the host shown inside. They need namespaces, but those
	// that show a folder where it is, to be read.
	Mounts []Mount `json:"mounts,omitempty" doc:"folders of the host shown inside"`
	// Placement says where it runs; nil is the node asked.
	Placement *Placement `json:"placement,omitempty" doc:"where it runs; the node asked if left out"`
	// Failover is "any" or "none"; "" is any.
	Failover string `json:"failover,omitempty" doc:"any or none; any if left out"`
}

// Child is one slot of a supervisor: a program and how it is supervised, or a
// supervisor of its own.
type Child struct {
	// ID is unique among the children of its supervisor, of the same form as a
	// sandbox's.
	ID string `json:"id" jsonschema:"unique among the children of its supervisor"`
	// Run is the program; nil for a supervisor.
	Run *Run `json:"run,omitempty" jsonschema:"the program; none for a supervisor"`
	// Name is registered in the whole cluster before the child's first process
	// starts, and is the slot's: it leads to whatever process is in it. "" is none.
	Name string `json:"name,omitempty" jsonschema:"a name in the registry that the slot holds"`
	// Restart is permanent, transient or temporary; "" is permanent.
	Restart string `json:"restart,omitempty" jsonschema:"permanent, transient or temporary; permanent if left out"`
	// ShutdownMS is how long the program may take to end after SIGTERM; nil is
	// 5000, 0 kills at once. A supervisor takes as long as its children need.
	ShutdownMS *int `json:"shutdown_ms,omitempty" jsonschema:"how long it may take to end after SIGTERM; 5000 if left out, 0 kills at once"`
	// Env is the program's environment, beside a minimal PATH.
	Env map[string]string `json:"env,omitempty" jsonschema:"all of its environment, beside a PATH"`
	// Limits are what the program may use; nil is no limits.
	Limits *Limits `json:"limits,omitempty" jsonschema:"what it and what it starts may use"`
	// Protocol is "jsonrpc" for a program that speaks JSON-RPC 2.0, a message a
	// line, on its standard input and output; "": standard output is its log.
	Protocol string `json:"protocol,omitempty" jsonschema:"jsonrpc for a program that speaks JSON-RPC 2.0, a message a line, on its standard input and output"`
	// Strategy, MaxRestarts, MaxSeconds and Children make the child a supervisor,
	// with the meanings that they have in [Spec]. One of them is enough.
	Strategy    string   `json:"strategy,omitempty" jsonschema:"makes the child a supervisor: one_for_one, one_for_all or rest_for_one"`
	MaxRestarts *int     `json:"max_restarts,omitempty" jsonschema:"of a supervisor"`
	MaxSeconds  *int     `json:"max_seconds,omitempty" jsonschema:"of a supervisor"`
	Children    Children `json:"children,omitempty" jsonschema:"of a supervisor"`
}

// Children are those of a supervisor that is a child itself.
type Children []Child

// DescribeSchema implements op.Described.
func (Children) DescribeSchema() string { return "a child, of the same form as this one" }

// Supervises reports whether the child is a supervisor.
func (c Child) Supervises() bool {
	return c.Strategy != "" || c.MaxRestarts != nil || c.MaxSeconds != nil || c.Children != nil
}

// Run is a program.
type Run struct {
	// Exec is the program and its arguments. The program is an absolute path,
	// or a name found in the PATH of the child's environment.
	Exec []string `json:"exec" jsonschema:"the program, an absolute path or a name in PATH, and its arguments"`
	// Dir is the absolute working directory; "" is "/".
	Dir string `json:"dir,omitempty" jsonschema:"absolute working directory; / if left out"`
}

// Limits are what a child and all it starts may use at most; 0 is no limit.
type Limits struct {
	MemoryMB int     `json:"memory_mb,omitempty" jsonschema:"MiB; more ends it with the cause oom"`                         // MiB; more ends it with the cause oom
	CPUs     float64 `json:"cpus,omitempty" jsonschema:"0.5 is half a core"`                                                // 0.5 is half a core
	Pids     int     `json:"pids,omitempty" jsonschema:"processes and threads"`                                             // processes and threads
	OutputMB int     `json:"output_mb,omitempty" jsonschema:"MiB printed in all; more ends it with the cause output_limit"` // MiB printed in all; more ends it with the cause output_limit
	TimeS    int     `json:"time_s,omitempty" jsonschema:"seconds it may run; more ends it with the cause timeout"`         // seconds it may run; more ends it with the cause timeout
}

// Mount shows a folder of the host inside.
type Mount struct {
	Source   string `json:"source" jsonschema:"absolute path on the host"`
	Target   string `json:"target" jsonschema:"absolute path inside"`
	ReadOnly bool   `json:"readonly,omitempty" jsonschema:"nothing can be written to it"`
}

// Placement says where a sandbox runs.
type Placement struct {
	// Node is the node to run on; "" is the node asked. The one who calls
	// [Manager.Create] has to ask the right manager.
	Node string `json:"node,omitempty" jsonschema:"the node to run on; the node asked if left out"`
	// Spread is not there yet.
	Spread bool `json:"spread,omitempty" jsonschema:"not there yet"`
}

// Defaults of a spec.
const (
	DefaultMaxRestarts = 3
	DefaultMaxSeconds  = 5
	DefaultShutdownMS  = 5000
	DefaultDir         = "/"
)

// Values of a spec's fields.
const (
	IsolationAuto       = "auto" // the strongest that works on the node
	IsolationNone       = "none"
	IsolationProcess    = "process"    // no_new_privs, landlock, seccomp, resource limits
	IsolationNamespaces = "namespaces" // that, and bubblewrap with namespaces of its own
	NetworkHost         = "host"
	NetworkNone         = "none"
	ProtocolJSONRPC     = "jsonrpc"
	FailoverAny         = "any"
	FailoverNone        = "none"
)

// WithDefaults returns a copy in which everything left out is filled in.
func (s Spec) WithDefaults() Spec {
	s.Strategy = orText(s.Strategy, string(supervisor.OneForOne))
	s.MaxRestarts = orInt(s.MaxRestarts, DefaultMaxRestarts)
	s.MaxSeconds = orInt(s.MaxSeconds, DefaultMaxSeconds)
	s.Isolation = orText(s.Isolation, IsolationAuto)
	s.Network = orText(s.Network, NetworkHost)
	s.Failover = orText(s.Failover, FailoverAny)
	s.Children = withDefaults(s.Children)
	return s
}

func withDefaults(given []Child) []Child {
	children := make([]Child, len(given))
	for i, c := range given {
		children[i] = c.WithDefaults()
	}
	return children
}

// WithDefaults returns a copy in which everything left out is filled in.
func (c Child) WithDefaults() Child {
	c.Restart = orText(c.Restart, string(supervisor.Permanent))
	if c.Supervises() {
		c.Strategy = orText(c.Strategy, string(supervisor.OneForOne))
		c.MaxRestarts = orInt(c.MaxRestarts, DefaultMaxRestarts)
		c.MaxSeconds = orInt(c.MaxSeconds, DefaultMaxSeconds)
		c.Children = withDefaults(c.Children)
		return c
	}
	c.ShutdownMS = orInt(c.ShutdownMS, DefaultShutdownMS)
	if c.Run != nil {
		run := *c.Run
		run.Dir = orText(run.Dir, DefaultDir)
		c.Run = &run
	}
	return c
}

// shutdown is the child's grace time; the spec has its defaults.
func (c Child) shutdown() time.Duration { return time.Duration(*c.ShutdownMS) * time.Millisecond }

func orText(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func orInt(value *int, otherwise int) *int {
	if value == nil {
		return &otherwise
	}
	return value
}
