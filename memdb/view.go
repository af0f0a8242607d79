package memdb

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	gomemdb "github.com/hashicorp/go-memdb"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
)

// View is the state at one moment, as it is to be shown.
type View struct {
	txn *gomemdb.Txn
	// origins are the rows of that table, sorted: nearly everything that is looked up
	// wants one of these few. Nil in a transaction that writes, where they change.
	origins []*origin
	moment  *moment // nil in a transaction that writes
}

// View returns the state of this moment. It is made once, by the transaction that
// made the state, and read by many.
func (db *DB) View() View { return *db.now.Load() }

// origin returns a copy of an origin's row, as originIn does.
func (v View) origin(name string) origin {
	if v.origins == nil {
		return originIn(v.txn, name)
	}
	if i, found := findOrigin(v.origins, name); found {
		return *v.origins[i]
	}
	return origin{Name: name}
}

func findOrigin(list []*origin, name string) (i int, found bool) {
	return slices.BinarySearchFunc(list, name, func(o *origin, name string) int { return strings.Compare(o.Name, name) })
}

// Digest tells how far each origin's changes have been applied, this node's
// own included.
func (db *DB) Digest() Digest {
	d := Digest{}
	for _, o := range db.View().origins {
		d[o.Name] = o.Position
	}
	return d
}

// each yields the rows of a table in the order of their ids.
func each[R any](txn *gomemdb.Txn, table string) iter.Seq[R] { return eachPrefix[R](txn, table, nil) }

func eachPrefix[R any](txn *gomemdb.Txn, table string, prefix []byte) iter.Seq[R] {
	return func(yield func(R) bool) {
		rows, err := txn.Get(table, "id_prefix", prefix)
		if err != nil { // a table or an index that is not in the schema
			panic(fmt.Sprintf("memdb: %s: %v", table, err))
		}
		for obj := rows.Next(); obj != nil; obj = rows.Next() {
			if !yield(obj.(R)) {
				return
			}
		}
	}
}

func marshalRow(r row) (json.RawMessage, error) {
	if c, ok := r.(*Claim); ok {
		if raw, ok := marshalClaim(c); ok {
			return raw, nil
		}
	}
	raw, err := jsontext.Marshal(r)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "row %q cannot be written", r.rowID())
	}
	return raw, nil
}

// Nodes returns the rows of the live nodes, sorted by name.
func (v View) Nodes() []Node { return shown[Node](v, nodes) }

// Node returns a live node's row.
func (v View) Node(name string) (Node, bool) { return one[Node](v, nodes, name) }

// Processes returns the processes of the live nodes, sorted by pid.
func (v View) Processes() []Process { return shown[Process](v, processes) }

// Process returns a process of a live node.
func (v View) Process(pid string) (Process, bool) { return one[Process](v, processes, pid) }

// ProcessOf returns the process that is in a slot of a live node now.
func (v View) ProcessOf(node, sandbox, child string) (Process, bool) {
	var newest Process
	found := false
	if !v.origin(node).visible() {
		return newest, false
	}
	for p := range eachPrefix[*Process](v.txn, processes, []byte(node+".")) { // a pid begins with its node
		if p.Node == node && p.Sandbox == sandbox && p.Child == child && !p.Ended() && (!found || p.Restarts > newest.Restarts) {
			newest, found = *p, true
		}
	}
	return newest, found
}

// shown returns copies of the visible rows of a table.
func shown[R any](v View, table string) []R {
	list := []R{}
	visible := v.visibility()
	for r := range each[row](v.txn, table) {
		if visible(r.rowOrigin()) {
			list = append(list, *any(r).(*R))
		}
	}
	return list
}

func one[R any](v View, table, id string) (R, bool) {
	for r := range eachPrefix[row](v.txn, table, prefixOf(id)) {
		if v.origin(r.rowOrigin()).visible() {
			return *any(r).(*R), true
		}
	}
	var none R
	return none, false
}

// visibility remembers what it found: there are few origins and many rows.
func (v View) visibility() func(origin string) bool {
	known := map[string]bool{}
	return func(name string) bool {
		visible, ok := known[name]
		if !ok {
			visible = v.origin(name).visible()
			known[name] = visible
		}
		return visible
	}
}

// Sandboxes returns the sandboxes of all nodes, sorted by id; those of a node
// that is dead, or back and not caught up with, are unknown. One of those that is to
// be no more is left out: its host will hear of it before anybody hears of its host.
func (v View) Sandboxes() []Sandbox {
	list := []Sandbox{}
	for s := range each[*Sandbox](v.txn, sandboxes) {
		if one := v.show(s); !v.isOver(one) {
			list = append(list, one)
		}
	}
	return list
}

func (v View) isOver(s Sandbox) bool { return s.Status == SandboxUnknown && v.decreed(s.UID) }

// Sandbox returns a sandbox by id. Should two nodes have one of the same id,
// one that is not unknown is preferred, then the higher epoch, then the node's
// name.
func (v View) Sandbox(id string) (Sandbox, bool) {
	var best Sandbox
	found := false
	for s := range eachPrefix[*Sandbox](v.txn, sandboxes, prefixOf(id)) {
		if shown := v.show(s); !v.isOver(shown) && (!found || better(shown, best)) {
			best, found = shown, true
		}
	}
	return best, found
}

func better(a, b Sandbox) bool {
	if known := a.Status != SandboxUnknown; known != (b.Status != SandboxUnknown) {
		return known
	}
	if a.Epoch != b.Epoch {
		return a.Epoch > b.Epoch
	}
	return a.Node < b.Node
}

func (v View) show(s *Sandbox) Sandbox {
	shown := *s
	if o := v.origin(s.Node); !o.visible() {
		shown.Status = SandboxUnknown
		shown.Why = fmt.Sprintf("node %s is dead or was not reached yet; it last said: %s", s.Node, s.Status)
		if o.Shown {
			shown.Why = fmt.Sprintf("node %s is back, and what it says now is on its way", s.Node)
		}
	}
	return shown
}

// Len returns how many replicated rows there are, hidden ones included.
func (v View) Len() int {
	n := 0
	for _, table := range replicated {
		for range each[row](v.txn, table) {
			n++
		}
	}
	return n
}

// Position tells how far an origin's changes have been applied.
func (db *DB) Position(origin string) Position { return db.View().origin(origin).Position }
