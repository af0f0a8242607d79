package node

import (
	"context"

	"github.com/glassbox-dev/glassbox/memdb"
)

// store writes the sandboxes' rows as this node's own.
type store struct{ db *memdb.DB }

func (s store) update(f func(tx *memdb.Tx) error) error {
	_, err := s.db.Update(f)
	return err
}

func (s store) PutSandbox(row memdb.Sandbox) error {
	return s.update(func(tx *memdb.Tx) error { return tx.PutSandbox(row) })
}

func (s store) DeleteSandbox(id string) error {
	return s.update(func(tx *memdb.Tx) error { return tx.DeleteSandbox(id) })
}

func (s store) PutProcess(row memdb.Process) error {
	return s.update(func(tx *memdb.Tx) error { return tx.PutProcess(row) })
}

func (s store) ReplaceProcess(previous string, row memdb.Process) error {
	return s.update(func(tx *memdb.Tx) error {
		if err := tx.DeleteProcess(previous); err != nil {
			return err
		}
		return tx.PutProcess(row)
	})
}

func (s store) DeleteProcess(pid string) error {
	return s.update(func(tx *memdb.Tx) error { return tx.DeleteProcess(pid) })
}

// caller lets replication call the other nodes.
type caller struct{ n *Node }

func (c caller) Call(ctx context.Context, node, method string, params, result any) error {
	return c.n.cluster.Call(ctx, node, method, params, result)
}
