package memdb

import (
	gomemdb "github.com/hashicorp/go-memdb"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Apply takes another origin's changes, numbered from+1 and on. What was
// applied already is left out; if there is a gap before them nothing is
// applied. Either way the position now reached is returned: it is the answer
// to whoever sent them. Changes of an older incarnation, of other origins'
// rows, out of order or ill-formed are an error, and then nothing of them is
// applied.
func (db *DB) Apply(name string, incarnation, from uint64, changes []Change) (Position, error) {
	if name == db.self {
		return Position{}, errs.New(errs.Forbidden, "only node %s itself writes its rows", name)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	var position Position
	err := db.write(func(txn *gomemdb.Txn) error {
		o, err := begin(txn, name, incarnation)
		if err != nil {
			return err
		}
		if from <= o.Seq {
			if err := applyAll(txn, &o, from, changes); err != nil {
				return err
			}
		}
		position = o.Position
		return txn.Insert(origins, &o)
	})
	return position, err
}

// begin finds the origin and, if this is the first of a new incarnation, drops
// what the old one owned.
func begin(txn *gomemdb.Txn, name string, incarnation uint64) (origin, error) {
	o := originIn(txn, name)
	if incarnation < o.Incarnation {
		return o, errs.New(errs.Conflict, "incarnation %d of node %s is over, %d is known", incarnation, name, o.Incarnation)
	}
	if incarnation > o.Incarnation {
		o.Position = Position{Incarnation: incarnation}
		return o, dropRows(txn, name)
	}
	return o, nil
}

func applyAll(txn *gomemdb.Txn, o *origin, from uint64, changes []Change) error {
	for i, c := range changes {
		if c.Seq != from+uint64(i)+1 {
			return errs.New(errs.BadParameter, "change %d of node %s comes where %d is due", c.Seq, o.Name, from+uint64(i)+1)
		}
		if c.Seq <= o.Seq {
			continue
		}
		if err := apply(txn, o.Name, c); err != nil {
			return err
		}
		o.Seq = c.Seq
	}
	return nil
}

func apply(txn *gomemdb.Txn, name string, c Change) error {
	r, err := c.decode(name)
	if err != nil {
		return err
	}
	if c.Deleted {
		_, err := remove(txn, c.Table, c.ID, name)
		return err
	}
	return txn.Insert(c.Table, r)
}

// Rows returns all rows of an origin and the position they are of: a snapshot
// to be installed elsewhere.
func (db *DB) Rows(name string) (Position, []Change, error) {
	txn := db.db.Txn(false)
	var rows []Change
	for _, table := range replicated {
		for r := range each[row](txn, table) {
			if r.rowOrigin() != name {
				continue
			}
			raw, err := marshalRow(r)
			if err != nil {
				return Position{}, nil, err
			}
			rows = append(rows, Change{Table: table, ID: r.rowID(), Row: raw})
		}
	}
	return originIn(txn, name).Position, rows, nil
}

// Install replaces all rows of another origin by a snapshot, in one step. One
// that is not newer than what is known changes nothing. The position now
// reached is returned.
func (db *DB) Install(name string, position Position, rows []Change) (Position, error) {
	if name == db.self {
		return Position{}, errs.New(errs.Forbidden, "only node %s itself writes its rows", name)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	reached := position
	err := db.write(func(txn *gomemdb.Txn) error {
		o := originIn(txn, name)
		if o.Position.Covers(position) {
			reached = o.Position
			return nil
		}
		if err := dropRows(txn, name); err != nil {
			return err
		}
		for _, c := range rows {
			if err := apply(txn, name, c); err != nil {
				return err
			}
		}
		o.Position = position
		return txn.Insert(origins, &o)
	})
	return reached, err
}
