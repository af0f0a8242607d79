package cluster

import (
	"time"

	"github.com/glassbox-dev/glassbox/memdb"
)

// Input is something that happened to a node, for [Core.Step].
type Input interface{ input() }

// Info is what a node says of itself when it is greeted and in pings.
type Info struct {
	Incarnation uint64       `json:"incarnation"`
	Addr        string       `json:"addr"`
	Ready       bool         `json:"ready"`
	PeersHash   uint64       `json:"peers_hash"`
	Digest      memdb.Digest `json:"digest,omitempty"`
}

// The inputs.
type (
	// Tick is the passing of time, asked for with [Core.Next]. Late is how
	// much later than asked it came: how long this node was kept from running.
	Tick struct{ Late time.Duration }
	// Connected is a handshake that succeeded. Dialled tells who dialled.
	Connected struct {
		Peer    string
		Dialled bool
		Info    Info
	}
	// Disconnected is the end of a connection. Rest says which is left.
	Disconnected struct {
		Peer    string
		Dialled bool // the one that ended
		Rest    bool // there is another one
		Why     string
	}
	// DialFailed is a dial, or the handshake behind it, that failed.
	DialFailed struct {
		Peer    string
		Refused bool // nobody listens there
		Why     string
	}
	// Answered is an answer to this node's own ping.
	Answered struct {
		Peer   string
		RTT    time.Duration
		Answer Answer
	}
	// Pinged is a ping of a peer: it says how the peer is, not that we reach it.
	Pinged struct {
		Peer        string
		Incarnation uint64
		Ready       bool
	}
	// Heard is when the newest bytes came from a peer that ended within a
	// message: its answers may wait behind the rest.
	Heard struct {
		Peer string
		At   time.Time
	}
	// Told is what a member says to our question whether it reaches a peer.
	Told struct {
		About, By string
		Verdict   Verdict
	}
	// Goodbye is a peer that leaves.
	Goodbye struct {
		Peer        string
		Incarnation uint64
	}
	// Known is the highest incarnation that a peer knows of this very node.
	Known struct {
		By          string
		Incarnation uint64
	}
	// Applied is how far this node has applied everybody's changes.
	Applied struct{ Digest memdb.Digest }
)

// Answer is what a ping is answered with.
type Answer struct {
	Ready bool   `json:"ready"`
	Known uint64 `json:"known"` // highest incarnation known of the one who pings
	// Reach is whom the answerer reaches directly, and how many microseconds
	// ago each of them answered it.
	Reach   map[string]int64 `json:"reach"`
	Applied memdb.Position   `json:"applied"` // how far it has applied the pinger's changes
	Hash    uint64           `json:"hash"`    // of its digest
	Digest  memdb.Digest     `json:"digest,omitempty"`
}

// Verdict is what a member that was asked found when it tried a peer.
type Verdict string

// The verdicts.
const (
	Reached Verdict = "reached"
	Refused Verdict = "refused"
	Silent  Verdict = "silent" // it did not answer, or the one who was asked did not
)

func (Tick) input()         {}
func (Connected) input()    {}
func (Disconnected) input() {}
func (DialFailed) input()   {}
func (Answered) input()     {}
func (Pinged) input()       {}
func (Heard) input()        {}
func (Told) input()         {}
func (Goodbye) input()      {}
func (Known) input()        {}
func (Applied) input()      {}

// Output is something to be done, in the order given.
type Output interface{ output() }

// The outputs.
type (
	// Dial asks for a connection to a peer, at the first of the addresses that
	// answers. It is answered by Connected or DialFailed.
	Dial struct {
		Peer  string
		Addrs []string
	}
	// Ping asks for a ping; Stalled tells the peer that it does not keep up.
	Ping struct {
		Peer    string
		Stalled bool
	}
	// Ask asks members whether they reach a peer. Each is answered by Told, at
	// once or never.
	Ask struct {
		Members []string
		About   string
	}
	// Drop asks to close all connections with a peer.
	Drop struct {
		Peer string
		Why  string
	}
	// Forget asks to call a peer no more that left. It closes the connections
	// itself, once it has heard that its goodbye was.
	Forget struct{ Peer string }
	// Emit tells everybody on this node.
	Emit struct{ Event Event }
	// Open says that this node has joined.
	Open struct{}
	// Superseded says that a later start of this node's name is known: this
	// one must end.
	Superseded struct{ Why string }
	// Reborn says that this node took a higher incarnation.
	Reborn struct{ Incarnation uint64 }
)

func (Dial) output()       {}
func (Ping) output()       {}
func (Ask) output()        {}
func (Drop) output()       {}
func (Forget) output()     {}
func (Emit) output()       {}
func (Open) output()       {}
func (Superseded) output() {}
func (Reborn) output()     {}
