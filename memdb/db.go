package memdb

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	gomemdb "github.com/hashicorp/go-memdb"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
)

// logLimits bound the log of this node's own changes. A peer that is further
// behind gets a snapshot.
var logLimits = journal.Limits{Entries: 8192, Bytes: 4 << 20}

// otherLogLimits bound the logs of the other origins' changes, from which a
// third node is helped that was away for a moment.
var otherLogLimits = journal.Limits{Entries: 1024, Bytes: 256 << 10}

// DB is the state. All methods may be called from several goroutines at once.
type DB struct {
	self string
	db   *gomemdb.MemDB
	log  *journal.Journal[Change]
	mu   sync.Mutex                          // held by writers; also orders the logs as the commits
	logs map[string]*journal.Journal[Change] // of the other origins
	now  atomic.Pointer[View]                // the state as last committed

	touched []*origin // rows of origins that the present transaction has written
}

// Open returns an empty state of the node called self, at incarnation 0.
func Open(self string) (*DB, error) {
	db, err := gomemdb.NewMemDB(indexSchema())
	if err != nil {
		return nil, fmt.Errorf("open the state: %w", err)
	}
	// Only what go-memdb takes for a snapshot is spared the bookkeeping for its
	// watches of single rows; ours is of the whole state, see watch.go and ADR 5.
	db = db.Snapshot()
	made := &DB{self: self, db: db, log: journal.New(logLimits, Change.Size), logs: map[string]*journal.Journal[Change]{}}
	made.now.Store(&View{txn: db.Txn(false), origins: []*origin{}, moment: &moment{}})
	return made, nil
}

// write runs f in a write transaction and commits it if f succeeds.
func (db *DB) write(f func(txn *gomemdb.Txn) error) error {
	db.touched = db.touched[:0]
	txn := db.db.Txn(true)
	defer txn.Abort() // does nothing after a commit
	if err := f(txn); err != nil {
		return err
	}
	txn.Commit()
	before := db.View()
	view := View{txn: db.db.Txn(false), origins: before.origins, moment: &moment{}}
	if len(db.touched) > 0 {
		view.origins = slices.Clone(view.origins)
	}
	for _, o := range db.touched {
		if i, found := findOrigin(view.origins, o.Name); found {
			view.origins[i] = o
		} else {
			view.origins = slices.Insert(view.origins, i, o)
		}
	}
	db.now.Store(&view)
	before.moment.pass()
	return nil
}

// putOrigin stores an origin's row.
func (db *DB) putOrigin(txn *gomemdb.Txn, o origin) error {
	db.touched = append(db.touched, &o)
	return txn.Insert(origins, &o)
}

// SetIncarnation says which incarnation this node's rows are of. It may rise
// while the node joins: the rows stay, and peers get them anew.
func (db *DB) SetIncarnation(incarnation uint64) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.write(func(txn *gomemdb.Txn) error {
		o := originIn(txn, db.self)
		if incarnation < o.Incarnation {
			return errs.New(errs.Conflict, "incarnation %d is below the present one, %d", incarnation, o.Incarnation)
		}
		o.Incarnation = incarnation
		return db.putOrigin(txn, o)
	})
}

// Log is the log of this node's own changes; an entry's position is the
// change's number.
func (db *DB) Log() *journal.Journal[Change] { return db.log }

// Tx is a transaction on this node's own rows.
type Tx struct {
	db      *DB
	txn     *gomemdb.Txn
	from    uint64 // the number of the last change before it
	changes []Change
}

// Update runs f and commits what it did, all or nothing. It returns the
// position of its last change.
func (db *DB) Update(f func(tx *Tx) error) (Position, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	tx := &Tx{db: db}
	var position Position
	err := db.write(func(txn *gomemdb.Txn) error {
		o := originIn(txn, db.self)
		tx.txn, tx.from = txn, o.Seq
		if err := f(tx); err != nil {
			return err
		}
		o.Seq += uint64(len(tx.changes))
		o.Shown = true
		position = o.Position
		return db.putOrigin(txn, o)
	})
	if err != nil {
		return Position{}, err
	}
	for _, c := range tx.changes {
		c.Seq = db.log.Last() + 1
		db.log.Append(c)
	}
	return position, nil
}

// PutNode stores what this node says of itself.
func (tx *Tx) PutNode(n Node) error { return tx.put(nodes, &n) }

// PutSandbox stores a sandbox of this node. A new one whose id a sandbox of
// another node has is refused with already_exists.
func (tx *Tx) PutSandbox(s Sandbox) error {
	own, err := tx.txn.First(sandboxes, "id", keyOf(s.ID, tx.db.self))
	if err != nil {
		return err
	}
	if other, ok := tx.View().Sandbox(s.ID); ok && own == nil {
		return errs.New(errs.AlreadyExists, "sandbox %q already exists on node %s; destroy it first, or choose another id", s.ID, other.Node)
	}
	return tx.put(sandboxes, &s)
}

// PutProcess stores a process of this node.
func (tx *Tx) PutProcess(p Process) error { return tx.put(processes, &p) }

// DeleteSandbox deletes a sandbox of this node, if there is one.
func (tx *Tx) DeleteSandbox(id string) error { return tx.remove(sandboxes, id) }

// DeleteProcess deletes a process of this node, if there is one.
func (tx *Tx) DeleteProcess(pid string) error { return tx.remove(processes, pid) }

func (tx *Tx) put(table string, r row) error {
	if r.rowOrigin() != tx.db.self || r.rowID() == "" {
		return errs.New(errs.Internal, "row %q of node %q is not node %q's to write", r.rowID(), r.rowOrigin(), tx.db.self)
	}
	raw, err := marshalRow(r)
	if err != nil {
		return err
	}
	tx.changes = append(tx.changes, Change{Table: table, ID: r.rowID(), Row: raw})
	return tx.txn.Insert(table, r)
}

func (tx *Tx) remove(table, id string) error {
	had, err := remove(tx.txn, table, id, tx.db.self)
	if had {
		tx.changes = append(tx.changes, Change{Table: table, ID: id, Deleted: true})
	}
	return err
}

// remove deletes a row if it is there.
func remove(txn *gomemdb.Txn, table, id, origin string) (had bool, err error) {
	n, err := txn.DeleteAll(table, "id", keyOf(id, origin))
	return n > 0, err
}
