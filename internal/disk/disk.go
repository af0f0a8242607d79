// Package disk keeps what must survive a node's end: the specs of its sandboxes, and
// its copies of decrees of destruction. Nothing else of the project touches bbolt.
//
// What a write has returned from is on the disk: kill -9 or a loss of power take
// nothing of it. A folder is one node's: two processes cannot have it open, and a
// node of another name is refused.
package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/memdb"
)

// File is the name of the one file in the folder.
const File = "glassbox.db"

// lockTimeout is how long another process is waited for that may be ending.
const lockTimeout = time.Second

// format is the version of what is in the file.
const format = "1"

var (
	meta      = []byte("meta")
	sandboxes = []byte("sandboxes") // by uid
	destroyed = []byte("destroyed") // by uid
	nodeKey   = []byte("node")
	formatKey = []byte("format")
)

// Disk is a node's data folder. All methods may be called from several goroutines
// at once.
type Disk struct{ db *bbolt.DB }

// Open opens the data folder of the node called name, and makes it if there is none.
// Kinds: conflict (another process has it open, or it is another node's),
// bad_parameter (it cannot be used).
func Open(dir, name string) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errs.Wrap(errs.BadParameter, err, "the data folder %s cannot be made; choose another with --data-dir", dir)
	}
	file := filepath.Join(dir, File)
	var db *bbolt.DB
	err := guarded(func() (err error) {
		db, err = bbolt.Open(file, 0o600, &bbolt.Options{Timeout: lockTimeout})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, errs.New(errs.Conflict, "another process has the data folder %s open; end it, or give this node a folder of its own with --data-dir", dir)
	case err != nil:
		return nil, errs.Wrap(errs.BadParameter, err, "%s cannot be read; restore it from a copy, or choose another folder with --data-dir", file)
	}
	d := &Disk{db}
	switch err := guarded(func() error { return d.begin(dir, name) }); {
	case errors.Is(err, errDamaged): // what bbolt holds now cannot be let go
		return nil, errs.Wrap(errs.BadParameter, err, "%s cannot be read; restore it from a copy, or choose another folder with --data-dir", file)
	case err != nil:
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

// errDamaged says that bbolt met what it never wrote.
var errDamaged = errors.New("it is damaged")

// guarded turns the panics of bbolt over a damaged file, and the faults of reading one
// that was cut short, into errors.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// begin makes what is missing and checks whose the folder is.
func (d *Disk) begin(dir, name string) error {
	return d.db.Update(func(tx *bbolt.Tx) error {
		for _, bucket := range [][]byte{meta, sandboxes, destroyed} {
			if _, err := tx.CreateBucketIfNotExists(bucket); err != nil {
				return err
			}
		}
		m := tx.Bucket(meta)
		if owner := m.Get(nodeKey); owner != nil && string(owner) != name {
			return errs.New(errs.Conflict, "the data folder %s is node %s's, and this is node %s; give each node a folder of its own with --data-dir", dir, owner, name)
		}
		if f := m.Get(formatKey); f != nil && string(f) != format {
			return errs.New(errs.Conflict, "the data folder %s was written by another version (format %s, known is %s); run that one, or choose another folder", dir, f, format)
		}
		return errors.Join(m.Put(nodeKey, []byte(name)), m.Put(formatKey, []byte(format)))
	})
}

// Close lets the folder go.
func (d *Disk) Close() error { return d.db.Close() }

// PutSandbox keeps a sandbox's row, above all its spec.
func (d *Disk) PutSandbox(row memdb.Sandbox) error { return d.put(sandboxes, row.UID, row, nil) }

// DropSandbox forgets a sandbox.
func (d *Disk) DropSandbox(uid string) error { return d.drop(sandboxes, uid) }

// PutDestroyed keeps a decree, and forgets the sandbox in the same step.
func (d *Disk) PutDestroyed(row memdb.Destroyed) error {
	return d.put(destroyed, row.UID, row, sandboxes)
}

// DropDestroyed forgets a decree.
func (d *Disk) DropDestroyed(uid string) error { return d.drop(destroyed, uid) }

// put writes a row, and deletes what another bucket has of the same uid.
func (d *Disk) put(bucket []byte, uid string, row any, other []byte) error {
	raw, err := jsontext.Marshal(row)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "%s %s cannot be written", bucket, uid)
	}
	err = d.db.Update(func(tx *bbolt.Tx) error {
		if other != nil {
			if err := tx.Bucket(other).Delete([]byte(uid)); err != nil {
				return err
			}
		}
		return tx.Bucket(bucket).Put([]byte(uid), raw)
	})
	return d.fault(err)
}

// drop deletes a row. If there is none it costs no write.
func (d *Disk) drop(bucket []byte, uid string) error {
	had := false
	err := d.db.View(func(tx *bbolt.Tx) error {
		had = tx.Bucket(bucket).Get([]byte(uid)) != nil
		return nil
	})
	if err == nil && had {
		err = d.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Delete([]byte(uid)) })
	}
	return d.fault(err)
}

func (d *Disk) fault(err error) error {
	if err == nil {
		return nil
	}
	return errs.Wrap(errs.Internal, err, "%s cannot be written; see whether the disk is full or broken", d.db.Path())
}

// Load returns what the folder has, sorted by uid. A sandbox that cannot be read is
// left where it is and told in unread; a decree that cannot be is an error, since what
// was destroyed could come back.
func (d *Disk) Load() (kept []memdb.Sandbox, decrees []memdb.Destroyed, unread []error, err error) {
	err = guarded(func() error {
		return d.db.View(func(tx *bbolt.Tx) error {
			unread = each(tx, sandboxes, &kept)
			return errors.Join(each(tx, destroyed, &decrees)...)
		})
	})
	return kept, decrees, unread, err
}

func each[R any](tx *bbolt.Tx, bucket []byte, list *[]R) (unread []error) {
	_ = tx.Bucket(bucket).ForEach(func(uid, raw []byte) error { // which returns no error of its own
		var row R
		if err := json.Unmarshal(raw, &row); err != nil {
			unread = append(unread, fmt.Errorf("%s %s in %s cannot be read: %w", bucket, uid, tx.DB().Path(), err))
			return nil
		}
		*list = append(*list, row)
		return nil
	})
	return unread
}
