package op

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// Table is an explicit list of operations and the one way to run them.
type Table struct {
	ops    []*Op
	byName map[string]*Op
	router Router
	log    *slog.Logger
}

// NewTable makes a table of these operations. It fails when two share a name
// or a route.
func NewTable(router Router, log *slog.Logger, ops ...*Op) (*Table, error) {
	t := &Table{ops: slices.Clone(ops), byName: map[string]*Op{}, router: router, log: log}
	slices.SortFunc(t.ops, func(a, b *Op) int { return strings.Compare(a.Name, b.Name) })
	routes := map[string]string{}
	for _, o := range t.ops {
		route := o.Method + " " + o.Path
		if other, twice := routes[route]; twice {
			return nil, fmt.Errorf("operations %s and %s share the route %s", other, o.Name, route)
		}
		if t.byName[o.Name] != nil {
			return nil, fmt.Errorf("operation %s is defined twice", o.Name)
		}
		routes[route], t.byName[o.Name] = o.Name, o
	}
	return t, nil
}

// Ops returns the operations, sorted by name.
func (t *Table) Ops() []*Op { return t.ops }

// Op returns an operation by name, an error of kind method_not_found if there
// is none.
func (t *Table) Op(name string) (*Op, error) {
	if o := t.byName[name]; o != nil {
		return o, nil
	}
	return nil, errs.New(errs.MethodNotFound, "no operation %q; rpc.discover lists them", name)
}

// Request is one call of an operation.
type Request struct {
	Method string
	Params json.RawMessage // an object, or nothing
	// Members are the params taken apart already, each valid JSON; nil if Params
	// has them. The table keeps the map and changes it.
	Members map[string]json.RawMessage
	Caller  Caller
}

// call is a request on its way: decoded, with its common parameters taken out.
type call struct {
	op      *Op
	raw     json.RawMessage // the params, without the common ones; see params
	members map[string]json.RawMessage
	in      any
	node    string // the node it is pinned to, or ""
	timeout time.Duration
	bounded bool // by the caller
	caller  Caller
}

// Invoke runs an operation wherever it belongs. The error is an *errs.Error.
func (t *Table) Invoke(ctx context.Context, req Request) (result json.RawMessage, err error) {
	o, err := t.Op(req.Method)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	defer func() { o.stats.done(time.Since(started), err) }()
	c, err := o.decode(req)
	if err != nil {
		return nil, err
	}
	if c.caller.Node == "" {
		c.caller.Node = t.router.Self()
	}
	ctx, cancel := withTimeout(ctx, c.timeout)
	defer cancel()
	if result, err = t.route(ctx, c); err != nil {
		return nil, timeoutError(ctx, c, err)
	}
	return result, nil
}

// timeoutError says of a bare deadline which operation it was and how long it waited.
func timeoutError(ctx context.Context, c *call, err error) error {
	e := errs.From(err)
	if e.Kind == errs.Timeout && !e.Definite() && ctx.Err() == context.DeadlineExceeded {
		e = errs.New(errs.Timeout, "%s did not answer within %d ms; it may have happened all the same, "+
			"look before you ask again, or ask with a larger timeout_ms", c.op.Name, c.timeout.Milliseconds()).WithWhy("%s", err)
	}
	return e
}

// decode takes the common parameters out of the request and the rest apart.
func (o *Op) decode(req Request) (*call, error) {
	m, err := req.Members, error(nil)
	if m == nil {
		m, err = Members(req.Params)
	}
	if err != nil {
		return nil, err
	}
	c := &call{op: o, timeout: o.timeout(), caller: req.Caller, raw: req.Params, members: m}
	if err := c.takeCommon(m); err != nil {
		return nil, err
	}
	if c.in, err = o.in.decode(m); err == nil {
		c.allowWait(m)
	}
	return c, err
}

// allowWait gives an operation that is to wait the time for it, unless the caller
// has said how long it may take.
func (c *call) allowWait(m map[string]json.RawMessage) {
	raw, waits := m[waitParam]
	var ms int64
	if !waits || c.bounded || json.Unmarshal(raw, &ms) != nil {
		return
	}
	c.timeout += time.Duration(ms) * time.Millisecond
}

func (c *call) takeCommon(m map[string]json.RawMessage) error {
	common := 0
	for _, name := range []string{nodeParam, timeoutParam} {
		if string(m[name]) == "null" && c.op.in.field(name) == nil { // as good as not given
			delete(m, name)
			common++
		}
	}
	if raw, ok := m[nodeParam]; ok && c.op.in.field(nodeParam) == nil {
		if err := json.Unmarshal(raw, &c.node); err != nil {
			return errs.BadParam(nodeParam, "must be the name of a node")
		}
		delete(m, nodeParam)
		common++
	}
	if raw, ok := m[timeoutParam]; ok && c.op.in.field(timeoutParam) == nil {
		var ms int64
		if err := json.Unmarshal(raw, &ms); err != nil || ms < 1 || ms > time.Hour.Milliseconds() {
			return errs.BadParam(timeoutParam, "must be an integer of milliseconds between 1 and %d", time.Hour.Milliseconds())
		}
		c.timeout, c.bounded = time.Duration(ms)*time.Millisecond, true
		delete(m, timeoutParam)
		common++
	}
	if c.op.pins && c.node == "" {
		return errs.BadParam(nodeParam, "required, but missing: say which node is meant")
	}
	if common > 0 {
		c.raw = nil
	}
	return nil
}

// params are the operation's own, as they go to another node.
func (c *call) params() json.RawMessage {
	if c.raw == nil && c.members != nil {
		return object(c.members)
	}
	return c.raw
}

// runLocal runs the handler here. A panic is an error of kind internal.
func (t *Table) runLocal(ctx context.Context, c *call) (result json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			t.log.Error("operation panicked", "op", c.op.Name, "panic", p, "stack", string(debug.Stack()))
			result, err = nil, errs.New(errs.Internal, "%s failed inside Glassbox: %v; the node's log has the stack", c.op.Name, p)
		}
	}()
	ctx = context.WithValue(ctx, callerKey{}, c.caller)
	out, err := c.op.run(ctx, c.in)
	if err != nil {
		return nil, err
	}
	return marshal(c.op, out)
}

// Appender is a result that writes itself, as jsontext.Marshal would, without
// reflection.
type Appender interface{ AppendJSON(b []byte) []byte }

func marshal(o *Op, out any) (json.RawMessage, error) {
	if raw, ok := out.(json.RawMessage); ok {
		return raw, nil
	}
	if a, ok := out.(Appender); ok {
		return a.AppendJSON(make([]byte, 0, 256)), nil
	}
	raw, err := jsontext.Marshal(out)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "the result of %s cannot be written", o.Name)
	}
	return raw, nil
}
