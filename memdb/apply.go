package memdb

import (
	"bytes"
	"slices"

	gomemdb "github.com/hashicorp/go-memdb"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/internal/sabotage"
)

// Batch is a part of an origin's sequence of changes: those behind From.
type Batch struct {
	Incarnation uint64   `json:"incarnation"`
	From        uint64   `json:"from"`
	Changes     []Change `json:"changes,omitempty"`
	Confirmed   uint64   `json:"confirmed,omitempty"` // the origin's watermark
}

// Snapshot is all rows of an origin at a position.
type Snapshot struct {
	Position  Position
	Confirmed uint64
	Rows      []Change
}

// Applied is where taking an origin's changes has led.
type Applied struct {
	Position
	// Beaten are the claims among the changes, applied now or before, than
	// which a better one is known here. Their origin is to be told.
	Beaten []Rival
	// Contested are the names among the changes to which this node has a claim.
	Contested []string
	// Stamp is the latest of the claims among the changes; 0 if there are none.
	Stamp uint64
	// Decrees are the uids of the decrees among the changes, and Destroyed the
	// origin's copies of them, unless they were deleted.
	Decrees   []string
	Destroyed []Destroyed
	// Shown says that the origin has become visible by it.
	Shown bool
	// Rose says that the origin's watermark is higher than was known.
	Rose bool
}

// Apply takes another origin's changes. What was applied already is left out; if
// there is a gap before them nothing is applied. Either way the position now
// reached is returned: it is the answer to whoever sent them. Changes of an older
// incarnation, of other origins' rows, out of order or ill-formed are an error,
// and then nothing of them is applied.
func (db *DB) Apply(name string, b Batch) (Applied, error) {
	if name == db.self {
		return Applied{}, errs.New(errs.Forbidden, "only node %s itself writes its rows", name)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	var done Applied
	before := db.View().origin(name)
	err := db.write(func(txn *gomemdb.Txn) error {
		o, err := begin(txn, name, b.Incarnation)
		if err != nil {
			return err
		}
		if b.From <= o.Seq {
			if err := applyAll(txn, &o, b.From, b.Changes); err != nil {
				return err
			}
		}
		done.Position, done.Rose = o.Position, b.Confirmed > o.Confirmed
		o.Confirmed = max(o.Confirmed, b.Confirmed)
		done.Shown = o.visible() && !before.visible()
		if o != before {
			if err := db.putOrigin(txn, o); err != nil {
				return err
			}
		}
		db.rivals(txn, name, b.Changes, &done)
		return decrees(txn, name, b.Changes, &done)
	})
	if err == nil {
		db.remember(name, before.Position, done.Position, b)
	}
	return done, err
}

// remember logs what was applied, for those who are to get it from here.
func (db *DB) remember(name string, before, after Position, b Batch) {
	log := db.logs[name]
	if log == nil || before.Incarnation != after.Incarnation {
		log = journal.NewAt(otherLogLimits, Change.Size, 0)
		if before.Incarnation == after.Incarnation {
			log = journal.NewAt(otherLogLimits, Change.Size, before.Seq)
		}
		db.logs[name] = log
	}
	for _, c := range b.Changes {
		if c.Seq == log.Last()+1 && c.Seq <= after.Seq {
			c.Row = bytes.Clone(c.Row) // it is a part of the message in which it came
			log.Append(c)
		}
	}
}

// begin finds the origin and, if this is the first of a new incarnation, drops
// what the old one owned.
func begin(txn *gomemdb.Txn, name string, incarnation uint64) (origin, error) {
	o := originIn(txn, name)
	if incarnation < o.Incarnation {
		return o, errs.New(errs.Conflict, "incarnation %d of node %s is over, %d is known", incarnation, name, o.Incarnation)
	}
	if incarnation > o.Incarnation {
		o.reset(incarnation)
		if sabotage.Breaks("keep the claims of a former life") {
			return o, nil
		}
		return o, dropRows(txn, name)
	}
	return o, nil
}

func applyAll(txn *gomemdb.Txn, o *origin, from uint64, changes []Change) error {
	if sabotage.Breaks("apply out of order") {
		return applyBackwards(txn, o, changes)
	}
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

// Since returns what is still in the log of an origin's changes behind a
// position, up to limit of them; false if the log does not reach back so far.
func (db *DB) Since(name string, p Position, limit int) (Batch, bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	o := db.View().origin(name)
	b := Batch{Incarnation: o.Incarnation, From: p.Seq, Confirmed: o.Confirmed}
	if p.Covers(o.Position) {
		return b, true
	}
	if p.Incarnation != o.Incarnation {
		b.From = 0
	}
	log := db.logs[name]
	if name == db.self {
		log = db.log
	}
	if log == nil || log.Last() != o.Seq {
		return Batch{}, false
	}
	items, missed := log.TryRead(b.From, limit)
	if missed > 0 {
		return Batch{}, false
	}
	b.Changes = make([]Change, len(items))
	for i, item := range items {
		b.Changes[i] = item.Value
		b.Changes[i].Seq = item.Seq
	}
	return b, true
}

// Rows returns all rows of an origin: a snapshot to be installed elsewhere.
func (db *DB) Rows(name string) (Snapshot, error) {
	v := db.View()
	txn, o := v.txn, v.origin(name)
	s := Snapshot{Position: o.Position, Confirmed: o.Confirmed}
	for _, table := range replicated {
		for r := range each[row](txn, table) {
			if r.rowOrigin() != name {
				continue
			}
			raw, err := marshalRow(r)
			if err != nil {
				return Snapshot{}, err
			}
			s.Rows = append(s.Rows, Change{Table: table, ID: r.rowID(), Row: raw})
		}
	}
	return s, nil
}

// Install replaces all rows of another origin by a snapshot, in one step. One
// that is not newer than what is known changes no rows: only the watermark may
// rise by it.
func (db *DB) Install(name string, s Snapshot) (Applied, error) {
	if name == db.self {
		return Applied{}, errs.New(errs.Forbidden, "only node %s itself writes its rows", name)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	var done Applied
	err := db.write(func(txn *gomemdb.Txn) error {
		o := originIn(txn, name)
		before, newer := o.visible(), !o.Position.Covers(s.Position)
		if newer {
			if err := replaceRows(txn, name, s.Rows); err != nil {
				return err
			}
			if o.Incarnation != s.Position.Incarnation {
				o.Confirmed = 0
			}
			o.Position = s.Position
		}
		done.Position, done.Shown = o.Position, o.visible() && !before
		if o.Incarnation == s.Position.Incarnation {
			done.Rose = s.Confirmed > o.Confirmed
			o.Confirmed = max(o.Confirmed, s.Confirmed)
		}
		if newer || done.Rose {
			if err := db.putOrigin(txn, o); err != nil {
				return err
			}
		}
		db.rivals(txn, name, s.Rows, &done)
		if newer {
			delete(db.logs, name)
		}
		return decrees(txn, name, s.Rows, &done)
	})
	return done, err
}

func replaceRows(txn *gomemdb.Txn, name string, rows []Change) error {
	if err := dropRows(txn, name); err != nil {
		return err
	}
	for _, c := range rows {
		if err := apply(txn, name, c); err != nil {
			return err
		}
	}
	return nil
}

// applyBackwards is what a build with the tag "sabotage" can do wrong.
func applyBackwards(txn *gomemdb.Txn, o *origin, changes []Change) error {
	before := o.Seq
	for _, c := range slices.Backward(changes) {
		if c.Seq > before {
			if err := apply(txn, o.Name, c); err != nil {
				return err
			}
			o.Seq = max(o.Seq, c.Seq)
		}
	}
	return nil
}
