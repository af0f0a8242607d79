package op

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Effect is what an operation does to the cluster.
type Effect string

// The effects, from harmless to not.
const (
	Read        Effect = "read"
	Write       Effect = "write"
	Destructive Effect = "destructive"
)

// Place is where an operation runs.
type Place string

// The places.
const (
	Anywhere   Place = "anywhere"   // on the node that was asked
	OnOwner    Place = "on_owner"   // forwarded to the node that holds the subject
	Everywhere Place = "everywhere" // on all live nodes, the answers merged
)

// DefaultTimeout bounds an operation that neither its definition nor the
// caller bounds.
const DefaultTimeout = 5 * time.Second

// Spec is what is said of an operation besides its types and its handler.
type Spec struct {
	Name        string // "sandbox.create": noun, dot, verb
	Summary     string // one line, no full stop
	Description string // more, if there is more to say; Markdown
	Method      string // HTTP method
	Path        string // below /api/v1, path parameters as ":name"
	Command     string // usage on the command line: words, then parameters in capitals; "" hides it there
	Effect      Effect
	Runs        Place
	// Early operations answer before the node has joined the cluster.
	Early bool
	// StreamOf names a followed operation: over REST this one is its stream.
	StreamOf string
	// Timeout is the default when the caller sets none; 0 means DefaultTimeout.
	Timeout time.Duration
	// Status is the HTTP status of success; 0 means 200. Where it is 201, a
	// result that says created: false is answered with 200.
	Status int
	// Errors lists the kinds it can return besides those every operation can
	// (bad_parameter, timeout, internal, node_unavailable, not_ready).
	Errors   []errs.Kind
	Examples []Example
}

// Example is a request that works. A test runs each over REST and JSON-RPC.
type Example struct {
	Summary string
	Params  string // JSON; ${word} is filled in by whoever runs it
	// Volatile lists the members of the result, by name at any depth, that may
	// differ from one call to the next.
	Volatile []string
}

// Op is a defined operation.
type Op struct {
	Spec
	in     params
	out    reflect.Type
	run    func(ctx context.Context, in any) (any, error)
	owner  func(ctx context.Context, in any) (string, error)
	merge  func(parts []rawPart) (any, error)
	stream *streamSpec
	stats  stats
	pins   bool // the path itself names the node to run on
}

// Option completes a definition.
type Option func(*Op)

// Define makes an operation from its spec and its handler. It panics when the
// definition itself is wrong, which is a programmer's mistake seen at the
// first start.
func Define[In, Out any](s Spec, run func(ctx context.Context, in In) (Out, error), options ...Option) *Op {
	o := &Op{Spec: s, in: paramsOf[In](s.Name), out: reflect.TypeFor[Out]()}
	o.pins = slices.Contains(o.PathParams(), nodeParam)
	o.run = func(ctx context.Context, in any) (any, error) { return run(ctx, in.(In)) }
	for _, option := range options {
		option(o)
	}
	if err := o.check(); err != nil {
		panic(err)
	}
	return o
}

// Owner says which node holds an OnOwner operation's subject.
func Owner[In any](f func(ctx context.Context, in In) (node string, err error)) Option {
	return func(o *Op) {
		o.owner = func(ctx context.Context, in any) (string, error) { return f(ctx, in.(In)) }
	}
}

// Part is one node's share of an Everywhere operation: a value or an error.
type Part[Out any] struct {
	Node  string
	Value Out
	Err   error
}

// NodeError is the share of a node that did not answer, in a merged result.
type NodeError struct {
	Node    string    `json:"node"`
	Kind    errs.Kind `json:"kind"`
	Message string    `json:"message"`
}

// Merge says how the parts of an Everywhere operation become one result. The
// parts are in the order of the node names.
func Merge[Out any](f func(parts []Part[Out]) Out) Option {
	return func(o *Op) {
		o.merge = func(raw []rawPart) (any, error) {
			parts := make([]Part[Out], len(raw))
			for i, r := range raw {
				parts[i] = Part[Out]{Node: r.node, Err: r.err}
				if r.err != nil {
					continue
				}
				if err := json.Unmarshal(r.value, &parts[i].Value); err != nil {
					parts[i].Err = errs.Wrap(errs.Internal, err, "the answer of %s to %s cannot be read", r.node, o.Name)
				}
			}
			return f(parts), nil
		}
	}
}

// Failed collects the errors of the parts that have one.
func Failed[Out any](parts []Part[Out]) []NodeError {
	var failed []NodeError
	for _, p := range parts {
		if p.Err != nil {
			failed = append(failed, NodeError{p.Node, errs.KindOf(p.Err), p.Err.Error()})
		}
	}
	return failed
}

type rawPart struct {
	node  string
	value json.RawMessage
	err   error
}

func (o *Op) check() error {
	switch {
	case o.Name == "" || o.Summary == "" || o.Method == "" || o.Path == "" || o.Effect == "":
		return fmt.Errorf("operation %q: name, summary, method, path and effect are all needed", o.Name)
	case o.Runs == OnOwner && o.owner == nil && !o.pins:
		return fmt.Errorf("operation %q runs on the owner: say who that is with op.Owner", o.Name)
	case o.Runs == Everywhere && o.merge == nil:
		return fmt.Errorf("operation %q runs everywhere: say how to merge with op.Merge", o.Name)
	}
	for _, name := range o.PathParams() {
		if name != nodeParam && o.in.field(name) == nil {
			return fmt.Errorf("operation %q: path parameter %q is no parameter", o.Name, name)
		}
	}
	return nil
}

func (o *Op) timeout() time.Duration {
	if o.Timeout > 0 {
		return o.Timeout
	}
	return DefaultTimeout
}
