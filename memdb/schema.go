package memdb

import (
	"encoding/json"
	"fmt"
	"strings"

	gomemdb "github.com/hashicorp/go-memdb"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// The tables. Each has one index only, since memory goes to indexes: the key
// is the row's id, then its origin, so that rows are sorted by id and two
// origins never touch each other's.
const (
	nodes     = "nodes"
	sandboxes = "sandboxes"
	processes = "processes"
	names     = "names"
	destroyed = "destroyed"
	origins   = "origins"
)

// replicated are the tables whose rows travel.
var replicated = []string{nodes, sandboxes, processes, names, destroyed}

// row is what all tables hold.
type row interface {
	rowID() string
	rowOrigin() string
}

func (n *Node) rowID() string        { return n.Name }
func (n *Node) rowOrigin() string    { return n.Name }
func (s *Sandbox) rowID() string     { return s.ID }
func (s *Sandbox) rowOrigin() string { return s.Node }
func (p *Process) rowID() string     { return p.PID }
func (p *Process) rowOrigin() string { return p.Node }
func (c *Claim) rowID() string       { return c.Name }
func (c *Claim) rowOrigin() string   { return c.Node }
func (o *origin) rowID() string      { return o.Name }
func (o *origin) rowOrigin() string  { return o.Name }
func prefixOf(id string) []byte      { return append(append(make([]byte, 0, len(id)+1), id...), 0) }
func keyOf(id, origin string) []byte {
	key := append(append(make([]byte, 0, len(id)+len(origin)+2), id...), 0)
	return append(append(key, origin...), 0)
}
func errNotARow(obj any) error { return fmt.Errorf("%T is no row", obj) }
func indexSchema() *gomemdb.DBSchema {
	schema := &gomemdb.DBSchema{Tables: map[string]*gomemdb.TableSchema{}}
	for _, name := range append([]string{origins}, replicated...) {
		schema.Tables[name] = &gomemdb.TableSchema{Name: name, Indexes: map[string]*gomemdb.IndexSchema{
			"id": {Name: "id", Unique: true, Indexer: rowIndex{}},
		}}
	}
	return schema
}

// rowIndex indexes rows by id and origin; its argument is a key.
type rowIndex struct{}

func (rowIndex) FromObject(obj any) (bool, []byte, error) {
	r, ok := obj.(row)
	if !ok {
		return false, nil, errNotARow(obj)
	}
	return true, keyOf(r.rowID(), r.rowOrigin()), nil
}

func (rowIndex) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 1 {
		if key, ok := args[0].([]byte); ok {
			return key, nil
		}
	}
	return nil, fmt.Errorf("the index takes one key, not %v", args)
}

func (i rowIndex) PrefixFromArgs(args ...any) ([]byte, error) { return i.FromArgs(args...) }

// Change is one change of an origin's rows, as it travels.
type Change struct {
	Seq     uint64          `json:"seq"` // 0 in a snapshot
	Table   string          `json:"table"`
	ID      string          `json:"id"`
	Deleted bool            `json:"deleted,omitempty"`
	Row     json.RawMessage `json:"row,omitempty"`
}

// Size is about what a change takes in a message.
func (c Change) Size() int { return len(c.Row) + len(c.ID) + 64 }

// decode reads a change's row and checks that it is the origin's own and what
// the change says it is.
func (c Change) decode(origin string) (row, error) {
	var r row
	switch c.Table {
	case nodes:
		r = &Node{}
	case sandboxes:
		r = &Sandbox{}
	case processes:
		r = &Process{}
	case names:
		r = &Claim{}
	case destroyed:
		r = &Destroyed{}
	default:
		return nil, errs.New(errs.BadParameter, "no table %q is replicated", c.Table)
	}
	if strings.IndexByte(c.ID, 0) >= 0 { // in a key it ends the id, so the row would be among those of another
		return nil, errs.New(errs.BadParameter, "row %q of table %s of node %q: an id has no byte 0", c.ID, c.Table, origin)
	}
	if c.Deleted {
		return nil, nil
	}
	if c.Table == names && c.ID != "" {
		if claim, ok := readClaim(c.Row, c.ID, origin); ok {
			return claim, claim.check()
		}
	}
	if err := json.Unmarshal(c.Row, r); err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "row %q of table %s cannot be read", c.ID, c.Table)
	}
	if r.rowOrigin() != origin || r.rowID() != c.ID || c.ID == "" {
		return nil, errs.New(errs.Forbidden, "row %q of table %s belongs to node %q and is called %q: node %q may not write it",
			c.ID, c.Table, r.rowOrigin(), r.rowID(), origin)
	}
	if claim, ok := r.(*Claim); ok {
		claim.Name, claim.Node = c.ID, origin // one string for all of them
		return r, claim.check()
	}
	return r, nil
}
