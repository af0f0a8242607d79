package memdb

import (
	"iter"
	"slices"
	"time"

	gomemdb "github.com/hashicorp/go-memdb"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// maxStamp bounds what a peer can push the hybrid clock to: the year 2200.
var maxStamp = uint64(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())

// Claimed is a claim and whether it is known as confirmed.
type Claimed struct {
	Claim
	Confirmed bool
}

// Better is the rule by which all nodes find the same holder among the claims
// to a name: the highest epoch, then a confirmed one before an unconfirmed one,
// then the earliest stamp, then the smallest node name.
func Better(a, b Claimed) bool {
	switch {
	case a.Epoch != b.Epoch:
		return a.Epoch > b.Epoch
	case a.Confirmed != b.Confirmed:
		return a.Confirmed
	case a.Stamp != b.Stamp:
		return a.Stamp < b.Stamp
	default:
		return a.Node < b.Node
	}
}

// Holder returns the best of the visible claims to a name.
func (v View) Holder(name string) (best Claimed, found bool) {
	for c := range eachPrefix[*Claim](v.txn, names, prefixOf(name)) {
		o := v.origin(c.Node)
		if !o.visible() {
			continue
		}
		if one := (Claimed{*c, c.Since <= o.Confirmed}); !found || Better(one, best) {
			best, found = one, true
		}
	}
	return best, found
}

// Claim returns a node's own claim to a name, visible or not.
func (v View) Claim(name, node string) (Claimed, bool) {
	c := claimIn(v.txn, name, node)
	if c == nil {
		return Claimed{}, false
	}
	return Claimed{*c, c.Since <= v.origin(node).Confirmed}, true
}

// Claimants returns all visible claims to a name but one node's, the best first.
func (v View) Claimants(name, but string) (list []Claimed) {
	for c := range eachPrefix[*Claim](v.txn, names, prefixOf(name)) {
		if o := v.origin(c.Node); o.visible() && c.Node != but {
			list = append(list, Claimed{*c, c.Since <= o.Confirmed})
		}
	}
	slices.SortFunc(list, func(a, b Claimed) int {
		if Better(a, b) {
			return -1
		}
		return 1
	})
	return list
}

// Holders yields who holds each name that begins with prefix and comes behind
// after, sorted by name.
func (v View) Holders(prefix, after string) iter.Seq[Claimed] {
	return func(yield func(Claimed) bool) {
		state := map[string]origin{}
		var best Claimed
		for c := range v.claims(prefix, after) {
			o, ok := state[c.Node]
			if !ok {
				o = v.origin(c.Node)
				state[c.Node] = o
			}
			if !o.visible() {
				continue
			}
			one := Claimed{*c, c.Since <= o.Confirmed}
			switch {
			case best.Name == c.Name && !Better(one, best):
			case best.Name == c.Name || best.Name == "":
				best = one
			default:
				if !yield(best) {
					return
				}
				best = one
			}
		}
		if best.Name != "" {
			yield(best)
		}
	}
}

// claims yields the claims to names with a prefix, of names behind after.
func (v View) claims(prefix, after string) iter.Seq[*Claim] {
	return func(yield func(*Claim) bool) {
		from := max(prefix, after)
		rows, err := v.txn.LowerBound(names, "id", []byte(from))
		if err != nil { // a table or an index that is not in the schema
			panic("memdb: names: " + err.Error())
		}
		for obj := rows.Next(); obj != nil; obj = rows.Next() {
			c := obj.(*Claim)
			if len(c.Name) < len(prefix) || c.Name[:len(prefix)] != prefix {
				return
			}
			if c.Name > after && !yield(c) {
				return
			}
		}
	}
}

// Contested returns the names to which this node and another visible one have
// a claim.
func (db *DB) Contested() []string {
	v := db.View()
	visible := v.visibility()
	var list []string
	var name string
	var own, other bool
	for c := range each[*Claim](v.txn, names) {
		if c.Name != name {
			name, own, other = c.Name, false, false
		}
		had := own && other
		own = own || c.Node == db.self
		other = other || c.Node != db.self && visible(c.Node)
		if own && other && !had {
			list = append(list, name)
		}
	}
	return list
}

func claimIn(txn *gomemdb.Txn, name, node string) *Claim {
	found, err := txn.First(names, "id", keyOf(name, node))
	if err != nil || found == nil { // the index never fails on a key
		return nil
	}
	return found.(*Claim)
}

// PutClaim stores a claim of this node. One that replaces another keeps its
// stamp and its number, and so its standing.
func (tx *Tx) PutClaim(c Claim) error { return tx.putClaim(c, claimIn(tx.txn, c.Name, c.Node)) }

func (tx *Tx) putClaim(c Claim, before *Claim) error {
	c.Since = tx.next()
	if before != nil {
		c.Stamp, c.Since = before.Stamp, before.Since
	}
	if err := c.check(); err != nil { // no peer would take it, nor anything that comes after it
		return err
	}
	return tx.put(names, &c)
}

// RenewClaim gives a claim of this node that is not confirmed the number of this
// change: it is confirmed behind those made before it, no longer ahead of them. Its
// stamp stays.
func (tx *Tx) RenewClaim(name string) error {
	before := claimIn(tx.txn, name, tx.db.self)
	if before == nil {
		return errs.New(errs.Internal, "there is no claim to %q to renew", name)
	}
	c := *before
	c.Since = tx.next()
	return tx.put(names, &c)
}

// next is the number of the transaction's next change.
func (tx *Tx) next() uint64 { return tx.from + uint64(len(tx.changes)) + 1 }

// Claims stores claims of this node to different names, of which it holds none, in
// one step, and tells for each what went wrong or the number of its change. One
// that is wrong does not keep the others out. check may refuse one by what the
// view shows.
func (db *DB) Claims(claims []Claim, check func(v View, c Claim) error) (seqs []uint64, failed []error) {
	seqs, failed = make([]uint64, len(claims)), make([]error, len(claims))
	_, err := db.Update(func(tx *Tx) error {
		// All is read before anything is written: go-memdb copies the path to a row
		// once in a transaction, and again after each time that it was read.
		for i, c := range claims {
			failed[i] = check(tx.View(), c)
		}
		for i, c := range claims {
			if failed[i] == nil {
				seqs[i] = tx.next()
				failed[i] = tx.putClaim(c, nil)
			}
		}
		return nil
	})
	if err != nil { // then nothing was stored
		for i := range failed {
			failed[i] = err
		}
	}
	return seqs, failed
}

// DeleteClaim withdraws a claim of this node, if there is one.
func (tx *Tx) DeleteClaim(name string) error { return tx.remove(names, name) }

// View is the state as the transaction sees it.
func (tx *Tx) View() View { return View{txn: tx.txn} }

// Confirm raises this node's watermark: its claims that were made by a change
// up to seq are confirmed.
func (db *DB) Confirm(seq uint64) error {
	return db.change(db.self, func(o *origin) { o.Confirmed = max(o.Confirmed, seq) })
}

// Confirmed returns an origin's watermark, as far as it is known here.
func (db *DB) Confirmed(name string) uint64 { return db.View().origin(name).Confirmed }

// Rival is a claim to a name that is better than another one.
type Rival struct {
	Name string `json:"name"`
	Node string `json:"node"` // whose it is
}

// rivals looks at the claims among an origin's changes.
func (db *DB) rivals(txn *gomemdb.Txn, name string, changes []Change, a *Applied) {
	confirmed := originIn(txn, name).Confirmed
	var others []*Claim
	for _, c := range changes {
		if c.Table != names {
			continue
		}
		var theirs *Claim
		others = others[:0]
		for claim := range eachPrefix[*Claim](txn, names, prefixOf(c.ID)) {
			if claim.Node == name {
				theirs = claim
			} else {
				others = append(others, claim)
			}
		}
		if slices.ContainsFunc(others, func(other *Claim) bool { return other.Node == db.self }) {
			a.Contested = append(a.Contested, c.ID)
		}
		if theirs == nil {
			continue
		}
		a.Stamp = max(a.Stamp, theirs.Stamp)
		for _, other := range others {
			o := originIn(txn, other.Node)
			if other.Node != db.self && !o.visible() {
				continue
			}
			if Better(Claimed{*other, other.Since <= o.Confirmed}, Claimed{*theirs, theirs.Since <= confirmed}) {
				a.Beaten = append(a.Beaten, Rival{c.ID, other.Node})
				break
			}
		}
	}
}
