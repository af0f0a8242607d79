package op

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// fanOutTimeout is what each node gets to answer its share of an Everywhere
// operation, so that one slow node cannot hold up the rest.
const fanOutTimeout = time.Second

// Target is a node that an Everywhere operation may be sent to.
type Target struct {
	Node string
	// Err, if not nil, is reported at once in place of the node's answer: it
	// is suspected, and waiting for it would be waiting for nothing.
	Err error
}

// Router is what a table needs to know of the cluster.
type Router interface {
	// Self is this node's name.
	Self() string
	// Targets returns all live nodes, this one included, sorted by name.
	Targets() []Target
	// Forward runs an operation on another node and returns its result.
	Forward(ctx context.Context, node string, f Forwarded) (json.RawMessage, error)
	// Ready is closed once this node has joined.
	Ready() <-chan struct{}
	// ReadyPeer names a node that has joined, to read from until this one has.
	ReadyPeer() (node string, ok bool)
}

// Forwarded is an operation on its way to another node, which runs it without
// asking anybody else.
type Forwarded struct {
	Method    string
	Params    json.RawMessage
	TimeoutMS int64
	Caller    Caller
}

// forwardedHead is a [Forwarded] without its params.
type forwardedHead struct {
	Method    string `json:"method"`
	TimeoutMS int64  `json:"timeout_ms"`
	Caller    Caller `json:"caller"`
}

// Encode writes the operation as JSON. The params are put in as they are.
func (f Forwarded) Encode() (json.RawMessage, error) {
	b, err := jsontext.Marshal(forwardedHead{f.Method, f.TimeoutMS, f.Caller})
	if err != nil || len(f.Params) == 0 {
		return b, err
	}
	b = append(b[:len(b)-1], `,"params":`...)
	return append(append(b, f.Params...), '}'), nil
}

// DecodeForwarded is the reverse of Encode; raw must be valid JSON. The params
// are a part of raw.
func DecodeForwarded(raw json.RawMessage) (Forwarded, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return Forwarded{}, errs.New(errs.BadParameter, "a forwarded operation is an object")
	}
	f := Forwarded{}
	var err error
	read := func(value []byte, target any) { err = errors.Join(err, json.Unmarshal(value, target)) }
	jsontext.EachMember(raw, func(key, value []byte) {
		switch string(key) {
		case `"method"`:
			read(value, &f.Method)
		case `"timeout_ms"`:
			read(value, &f.TimeoutMS)
		case `"caller"`:
			read(value, &f.Caller)
		case `"params"`:
			f.Params = value
		}
	})
	if err != nil {
		return Forwarded{}, errs.Wrap(errs.BadParameter, err, "a forwarded operation cannot be read")
	}
	return f, nil
}

// Waits reports whether the operation may wait for what need not come.
func (f Forwarded) Waits() (waits bool) {
	if len(f.Params) == 0 || f.Params[0] != '{' {
		return false
	}
	jsontext.EachMember(f.Params, func(key, value []byte) {
		if s := string(value); jsontext.Unquote(key) == waitParam && s != "0" && s != "null" {
			waits = true
		}
	})
	return waits
}

// Run runs an operation that another node forwarded to this one.
func (t *Table) Run(ctx context.Context, f Forwarded) (json.RawMessage, error) {
	o, err := t.Op(f.Method)
	if err != nil {
		return nil, err
	}
	if f.TimeoutMS < 1 {
		return nil, errs.BadParam(timeoutParam, "a forwarded operation carries the time it has left, at least 1 ms")
	}
	m, err := validMembers(f.Params) // they came in a message that was checked
	if err != nil {
		return nil, err
	}
	c := &call{op: o, raw: f.Params, caller: f.Caller, timeout: time.Duration(f.TimeoutMS) * time.Millisecond}
	if c.in, err = o.in.decode(m); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := t.waitReady(ctx, c); err != nil {
		return nil, err
	}
	return t.runLocal(ctx, c)
}

// route decides where a call runs.
func (t *Table) route(ctx context.Context, c *call) (json.RawMessage, error) {
	if c.node != "" {
		return t.runOn(ctx, c.node, c)
	}
	if !c.op.Early && !t.ready() {
		if peer, ok := t.router.ReadyPeer(); ok && c.op.Effect == Read && c.op.Runs == Anywhere {
			return t.forward(ctx, peer, c)
		}
		if err := t.waitReady(ctx, c); err != nil {
			return nil, err
		}
	}
	switch c.op.Runs {
	case OnOwner:
		owner, err := c.op.owner(ctx, c.in)
		if err != nil {
			return nil, err
		}
		return t.runOn(ctx, owner, c)
	case Everywhere:
		return t.everywhere(ctx, c)
	default:
		return t.runLocal(ctx, c)
	}
}

func (t *Table) ready() bool {
	select {
	case <-t.router.Ready():
		return true
	default:
		return false
	}
}

// waitReady is the joining gate: until the node has joined, it does not act on
// a state it does not know.
func (t *Table) waitReady(ctx context.Context, c *call) error {
	if c.op.Early {
		return nil
	}
	select {
	case <-t.router.Ready():
		return nil
	case <-ctx.Done():
		return errs.New(errs.NotReady, "node %s has not joined the cluster yet, so %s was not run; "+
			"ask again, or ask another node (`glassbox status` says what it waits for)", t.router.Self(), c.op.Name)
	}
}

func (t *Table) runOn(ctx context.Context, node string, c *call) (json.RawMessage, error) {
	if node != t.router.Self() {
		return t.forward(ctx, node, c)
	}
	if err := t.waitReady(ctx, c); err != nil {
		return nil, err
	}
	return t.runLocal(ctx, c)
}

func (t *Table) forward(ctx context.Context, node string, c *call) (json.RawMessage, error) {
	left := c.timeout
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	return t.router.Forward(ctx, node, Forwarded{
		Method: c.op.Name, Params: c.params(), TimeoutMS: max(1, left.Milliseconds()), Caller: c.caller,
	})
}

// everywhere asks all live nodes at once and merges what they say. A node that
// does not answer is an error inside the result, not of it.
func (t *Table) everywhere(ctx context.Context, c *call) (json.RawMessage, error) {
	targets := t.router.Targets()
	parts := make([]rawPart, len(targets))
	var wg sync.WaitGroup
	for i, target := range targets {
		parts[i] = rawPart{node: target.Node, err: target.Err}
		if target.Err != nil {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, fanOutTimeout)
			defer cancel()
			parts[i].value, parts[i].err = t.runOn(ctx, target.Node, c)
		})
	}
	wg.Wait()
	out, err := c.op.merge(parts)
	if err != nil {
		return nil, err
	}
	return marshal(c.op, out)
}
