package node

import (
	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/memdb"
)

// replica is what membership sees of the state and its replication.
type replica struct{ n *Node }

func (r replica) Digest() memdb.Digest { return r.n.db.Digest() }

func (r replica) SetIncarnation(incarnation uint64) {
	r.n.must("take the incarnation", r.n.db.SetIncarnation(incarnation))
}

func (r replica) Saw(peer string, digest memdb.Digest) { r.n.replicator.Saw(peer, digest) }

// Up shows a peer's rows once what it said in the handshake has been applied:
// nobody sees its past. What an earlier incarnation owned is gone.
func (r replica) Up(peer string, info cluster.Info) {
	r.n.must("drop its earlier rows", r.n.db.Drop(peer, info.Incarnation))
	r.n.must("show its rows", r.n.db.Show(peer, info.Digest[peer]))
	r.n.replicator.Up(peer, info.Incarnation, info.Digest)
}

func (r replica) Down(peer string) { r.n.replicator.Down(peer) }

// must logs a change of the state that failed, which only a fault of ours can
// make it.
func (n *Node) must(what string, err error) {
	if err != nil {
		n.log.Error("the state was not changed", "what", what, "err", err)
	}
}
