package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/cluster/replica"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox/decree"
)

// Times of the decrees.
const (
	// lookAgain is how often who waits for copies looks whether a member is waited for
	// no longer, which nothing else tells.
	lookAgain = 50 * time.Millisecond
	// writeAgain is how long a write waits that the disk has refused.
	writeAgain = time.Second
	// keepFinished is how many decrees that are over are remembered: what is late comes
	// soon, and one that was forgotten only takes longer to end once more.
	keepFinished = 4096
)

// decrees carries out what package decree decides about this node's copies. One
// goroutine, Run, writes them; a copy is on disk before anybody can see it.
type decrees struct {
	self       string
	configured []string // all nodes of the cluster, this one among them
	db         *memdb.DB
	replica    *replica.Replica
	keep       func(d memdb.Destroyed) error // on disk
	forget     func(uid string) error        // from disk
	condemn    func(uid, why string)         // ends what runs here
	log        *slog.Logger

	// finished are those that this node has deleted since all had them, the newest of
	// them. They are Run's.
	finished map[string]bool
	order    []string

	wake chan struct{} // one token: there is something to look at

	mu      sync.Mutex // never held while anything is waited for or called
	heard   map[string][]memdb.Destroyed
	asked   []asked
	changed chan struct{} // closed when something was looked at
}

// asked is a decree of this node's own.
type asked struct {
	row  memdb.Destroyed
	done chan error // nil: it stands
}

// hear takes what came from another node. It does not wait.
func (d *decrees) hear(uids []string, copies []memdb.Destroyed) {
	d.mu.Lock()
	for _, uid := range uids {
		if _, known := d.heard[uid]; !known {
			d.heard[uid] = nil
		}
	}
	for _, one := range copies {
		d.heard[one.UID] = append(d.heard[one.UID], one)
	}
	d.mu.Unlock()
	d.awake()
}

func (d *decrees) awake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run writes this node's copies until ctx ends.
func (d *decrees) Run(ctx context.Context) error {
	for _, own := range d.db.View().AllDestroyed() { // from the disk
		d.hear([]string{own.UID}, nil)
	}
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-again.C:
		}
		if !d.work() {
			again.Reset(writeAgain)
		}
	}
}

// work looks at what has come; false if something is to be tried again.
func (d *decrees) work() (done bool) {
	d.mu.Lock()
	heard, own := d.heard, d.asked
	d.heard, d.asked = map[string][]memdb.Destroyed{}, nil
	d.mu.Unlock()
	done = true
	for _, a := range own {
		a.done <- d.judge(a.row.UID, []memdb.Destroyed{a.row})
	}
	for uid, copies := range heard {
		if err := d.judge(uid, copies); err != nil {
			d.log.Error("a decree of destruction was not kept, that is tried again", "uid", uid, "err", err)
			d.mu.Lock()
			d.heard[uid] = append(d.heard[uid], copies...)
			d.mu.Unlock()
			done = false
			continue
		}
		if len(copies) > 0 && copies[0].By != d.self { // its own it carries out itself, when all have it
			d.condemn(uid, "destroyed by node "+copies[0].By+", as this node heard now")
		}
	}
	d.mu.Lock()
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
	return done
}

// judge does all that is due about one decree.
func (d *decrees) judge(uid string, heard []memdb.Destroyed) error {
	for {
		copies := d.db.View().Destroyed(uid)
		step := decree.Next(d.self, d.configured, decree.Known{Copies: copies, Heard: heard, Finished: d.finished[uid]})
		heard = nil
		switch {
		case step.Put != nil:
			// Who else has a copy need not be on disk: it is told again.
			if d.own(copies) == nil {
				if err := d.keep(*step.Put); err != nil {
					return err
				}
			}
			if _, err := d.replica.Update(func(tx *memdb.Tx) error { return tx.PutDestroyed(*step.Put) }); err != nil {
				return err
			}
		case step.Drop:
			if _, err := d.replica.Update(func(tx *memdb.Tx) error { return tx.DeleteDestroyed(uid) }); err != nil {
				return err
			}
			d.finish(uid)
			return d.forget(uid)
		default:
			return nil
		}
	}
}

// finish remembers that a decree is over.
func (d *decrees) finish(uid string) {
	if d.finished[uid] {
		return
	}
	d.finished[uid] = true
	d.order = append(d.order, uid)
	if len(d.order) > keepFinished {
		delete(d.finished, d.order[0])
		d.order = d.order[1:]
	}
}

func (d *decrees) own(copies []memdb.Destroyed) *memdb.Destroyed {
	for _, one := range copies {
		if one.Node == d.self {
			return &one
		}
	}
	return nil
}

// Decree implements [sandbox.Decrees].
func (d *decrees) Decree(ctx context.Context, row memdb.Destroyed) error {
	a := asked{row, make(chan error, 1)}
	d.mu.Lock()
	d.asked = append(d.asked, a)
	d.mu.Unlock()
	d.awake()
	select {
	case err := <-a.done:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return errs.Wrap(errs.Timeout, ctx.Err(), "sandbox %q may be destroyed or not: ask again", row.ID)
	}
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		copies := d.db.View().Destroyed(row.UID)
		lacking := decree.Lacking(d.replica.Awaited(), copies)
		if len(lacking) == 0 || d.own(copies) == nil { // deleted again: all had it
			return nil
		}
		select {
		case <-changed:
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return errs.Wrap(errs.Timeout, ctx.Err(), "that sandbox %q is destroyed was not acknowledged by %v; it will be when they answer again", row.ID, lacking)
		}
	}
}

// Pending implements operations.Decrees.
func (d *decrees) Pending(uid string) []string {
	copies := d.db.View().Destroyed(uid)
	if d.own(copies) == nil {
		return nil
	}
	return decree.Lacking(d.configured, copies)
}
