package memdb

import (
	"time"

	gomemdb "github.com/hashicorp/go-memdb"
)

// Destroyed is a decree: a creation of a sandbox is to be no more, whatever its
// epoch and wherever it runs. Every node that hears of it has a row of its own that
// says so, its copy.
type Destroyed struct {
	UID   string    `json:"uid"`  // of the creation
	ID    string    `json:"id"`   // of the sandbox
	Node  string    `json:"node"` // whose copy it is
	Host  string    `json:"host"` // where it ran, as far as whoever decreed it knew
	Epoch uint64    `json:"epoch"`
	By    string    `json:"by"` // the node that decreed it
	At    time.Time `json:"at"`
	// Acked are the nodes known to have a copy, or to have had one, sorted.
	Acked []string `json:"acked"`
}

func (d *Destroyed) rowID() string     { return d.UID }
func (d *Destroyed) rowOrigin() string { return d.Node }

// PutDestroyed stores this node's copy of a decree.
func (tx *Tx) PutDestroyed(d Destroyed) error { return tx.put(destroyed, &d) }

// DeleteDestroyed deletes this node's copy of a decree, if it has one.
func (tx *Tx) DeleteDestroyed(uid string) error { return tx.remove(destroyed, uid) }

// Destroyed returns all copies of a creation's decree. A dead node's copies count
// as everybody's: what was decreed stays decreed.
func (v View) Destroyed(uid string) (copies []Destroyed) {
	for d := range eachPrefix[*Destroyed](v.txn, destroyed, prefixOf(uid)) {
		copies = append(copies, *d)
	}
	return copies
}

// AllDestroyed returns all copies of all decrees, sorted by uid.
func (v View) AllDestroyed() (copies []Destroyed) {
	for d := range each[*Destroyed](v.txn, destroyed) {
		copies = append(copies, *d)
	}
	return copies
}

// decreed reports whether a creation of a sandbox is to be no more.
func (v View) decreed(uid string) bool {
	for range eachPrefix[*Destroyed](v.txn, destroyed, prefixOf(uid)) {
		return true
	}
	return false
}

// decrees notes what an origin's changes say of decrees.
func decrees(txn *gomemdb.Txn, name string, changes []Change, a *Applied) error {
	for _, c := range changes {
		if c.Table != destroyed {
			continue
		}
		a.Decrees = append(a.Decrees, c.ID)
		found, err := txn.First(destroyed, "id", keyOf(c.ID, name))
		if err != nil {
			return err
		}
		if found != nil {
			a.Destroyed = append(a.Destroyed, *found.(*Destroyed))
		}
	}
	return nil
}
