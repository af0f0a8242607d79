package node

import (
	"context"

	"github.com/glassbox-dev/glassbox/cluster/replica"
	"github.com/glassbox-dev/glassbox/memdb"
)

// store writes the sandboxes' rows as this node's own.
type store struct{ replica *replica.Replica }

func (s store) update(f func(tx *memdb.Tx) error) error {
	_, err := s.replica.Update(f)
	return err
}

func (s store) PutSandbox(row memdb.Sandbox) error {
	return s.update(func(tx *memdb.Tx) error { return tx.PutSandbox(row) })
}

func (s store) DeleteSandbox(id string) error {
	return s.update(func(tx *memdb.Tx) error { return tx.DeleteSandbox(id) })
}

func (s store) PutProcess(row memdb.Process) error {
	if row.Ended() {
		defer s.ended(row.PID)
	}
	return s.update(func(tx *memdb.Tx) error { return tx.PutProcess(row) })
}

// ended gives up the names of a process.
func (s store) ended(pid string) { s.replica.Ended(pid, "its process "+pid+" ended") }

func (s store) ReplaceProcess(previous string, row memdb.Process) error {
	defer s.ended(previous)
	return s.update(func(tx *memdb.Tx) error {
		if err := tx.DeleteProcess(previous); err != nil {
			return err
		}
		return tx.PutProcess(row)
	})
}

func (s store) DeleteProcess(pid string) error {
	defer s.ended(pid)
	return s.update(func(tx *memdb.Tx) error { return tx.DeleteProcess(pid) })
}

// caller lets replication call the other nodes.
type caller struct{ n *Node }

func (c caller) Call(ctx context.Context, node, method string, params, result any) error {
	return c.n.cluster.Call(ctx, node, method, params, result)
}
