package memdb

import (
	"fmt"

	gomemdb "github.com/hashicorp/go-memdb"

	"github.com/glassbox-dev/glassbox/internal/sabotage"
)

// origin is what is known of a node as a writer of rows. It is a row itself,
// so that a view sees rows and origins of the same moment.
type origin struct {
	Name     string
	Position // how far its changes were applied
	// Shown says that the origin is known to be alive: false until [DB.Show],
	// since its rows may have come from a third while it is dead.
	Shown  bool
	Target Position // its rows are shown once this is reached
	// Confirmed is the watermark: its claims that were made by a change up to
	// this one are confirmed.
	Confirmed uint64
}

// visible reports whether the origin's rows are shown as they are.
func (o origin) visible() bool { return o.Shown && o.Position.Covers(o.Target) }

// originIn returns a copy of an origin's row; zero but for the name if there
// is none yet.
func originIn(txn *gomemdb.Txn, name string) origin {
	found, err := txn.First(origins, "id", keyOf(name, name))
	if err != nil || found == nil { // the index never fails on a key
		return origin{Name: name}
	}
	return *found.(*origin)
}

// Hide says that an origin is dead: its sandboxes are unknown now, its other
// rows are not shown.
func (db *DB) Hide(name string) error {
	return db.change(name, func(o *origin) { o.Shown = false })
}

// Show says that an origin is alive and claims to be at target: its rows are
// shown as they are once that is reached, so that nobody sees its past. Those of one
// that has been shown all the while, and was only connected again, stay: what it
// holds must not seem free until the newest of its changes have come.
func (db *DB) Show(name string, target Position) error {
	return db.change(name, func(o *origin) {
		if !sabotage.Breaks("hide who is only connected again") && o.visible() && o.Target.Incarnation == target.Incarnation && o.Incarnation == target.Incarnation {
			return
		}
		o.Shown, o.Target = true, target
	})
}

func (db *DB) change(name string, f func(*origin)) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.write(func(txn *gomemdb.Txn) error {
		o := originIn(txn, name)
		f(&o)
		return db.putOrigin(txn, o)
	})
}

// ForgetNames deletes the names of an origin that has stayed dead for too long,
// and how far its changes had been applied: should it come back it says all again.
func (db *DB) ForgetNames(name string) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.logs, name)
	return db.write(func(txn *gomemdb.Txn) error {
		o := originIn(txn, name)
		o.Seq = 0
		if err := db.putOrigin(txn, o); err != nil {
			return err
		}
		return dropTable(txn, names, name)
	})
}

// Drop forgets all rows of an origin that left, or was reborn as incarnation.
// What is of that incarnation already stays.
func (db *DB) Drop(name string, below uint64) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.write(func(txn *gomemdb.Txn) error {
		o := originIn(txn, name)
		if o.Incarnation >= below {
			return nil
		}
		o.reset(below)
		delete(db.logs, name)
		if err := db.putOrigin(txn, o); err != nil {
			return err
		}
		return dropRows(txn, name)
	})
}

// reset begins an incarnation.
func (o *origin) reset(incarnation uint64) {
	o.Position, o.Confirmed = Position{Incarnation: incarnation}, 0
}

// dropRows deletes all rows of an origin.
func dropRows(txn *gomemdb.Txn, name string) error {
	for _, table := range replicated {
		if err := dropTable(txn, table, name); err != nil {
			return err
		}
	}
	return nil
}

func dropTable(txn *gomemdb.Txn, table, name string) error {
	for r := range each[row](txn, table) {
		if r.rowOrigin() != name {
			continue
		}
		if _, err := remove(txn, table, r.rowID(), name); err != nil {
			return fmt.Errorf("drop the %s of %s: %w", table, name, err)
		}
	}
	return nil
}
