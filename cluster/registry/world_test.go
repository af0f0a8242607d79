package registry

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// patience is how long the requests of the tests may take.
const patience = time.Second

// world is one core, n1's, with a real state. What its peers say and acknowledge
// is made by hand.
type world struct {
	*Core
	t      *testing.T
	now    time.Time
	db     *memdb.DB
	acked  map[string]uint64
	last   map[string]uint64 // the number of each peer's last change
	lastID uint64

	calls  []Call
	done   map[uint64]Done
	events []Event
}

// start starts the core among peers that are alive.
func start(t *testing.T, peers ...string) *world {
	db, err := memdb.Open("n1")
	require.NoError(t, err)
	require.NoError(t, db.SetIncarnation(1))
	w := &world{
		t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), db: db,
		acked: map[string]uint64{}, last: map[string]uint64{}, done: map[uint64]Done{},
	}
	w.Core = NewCore(Config{Self: "n1", DB: db, Acked: func(node string) uint64 { return w.acked[node] }})
	for _, peer := range peers {
		require.NoError(t, db.Show(peer, memdb.Position{}))
	}
	w.alive(peers...)
	return w
}

// take takes what the core wants, as often as it has written: alone, what is
// written is acknowledged.
func (w *world) take() {
	for {
		out := w.Take()
		w.calls = append(w.calls, out.Calls...)
		w.events = append(w.events, out.Events...)
		for _, d := range out.Done {
			require.NotContains(w.t, w.done, d.ID, "a request ends once")
			w.done[d.ID] = d
		}
		if !out.Wrote {
			return
		}
		w.Core.Acked(w.now, "", nil)
	}
}

func (w *world) alive(peers ...string) {
	w.Members(w.now, peers)
	w.take()
}

// register begins a request and returns its id.
func (w *world) register(r Register) uint64 {
	w.lastID++
	r.ID, r.Deadline = w.lastID, w.now.Add(patience)
	w.Register(w.now, r)
	w.take()
	return w.lastID
}

func (w *world) unregister(name string) uint64 {
	w.lastID++
	w.Unregister(w.now, Unregister{ID: w.lastID, Name: name, Why: "by request", Deadline: w.now.Add(patience)})
	w.take()
	return w.lastID
}

func (w *world) lookup(name string, consistent bool) uint64 {
	w.lastID++
	w.Lookup(w.now, Lookup{ID: w.lastID, Name: name, Consistent: consistent, Deadline: w.now.Add(patience)})
	w.take()
	return w.lastID
}

// ack has peers acknowledge all that was written.
func (w *world) ack(peers ...string) {
	for _, peer := range peers {
		w.acked[peer] = w.db.Log().Last()
		w.Core.Acked(w.now, peer, nil)
		w.take()
	}
}

// beaten has a peer acknowledge all, and say that another one has a better claim.
func (w *world) beaten(peer, name, by string) {
	w.acked[peer] = w.db.Log().Last()
	w.Core.Acked(w.now, peer, []memdb.Rival{{Name: name, Node: by}})
	w.take()
}

// claims has a peer's claim come, confirmed or not, and returns it.
func (w *world) claims(peer, name string, confirmed bool, change func(*memdb.Claim)) memdb.Claim {
	c := memdb.Claim{Name: name, Node: peer, Stamp: 1, Since: w.last[peer] + 1}
	if change != nil {
		change(&c)
	}
	raw, err := json.Marshal(c)
	require.NoError(w.t, err)
	watermark := w.db.Confirmed(peer)
	if confirmed {
		watermark = c.Since
	}
	w.says(peer, watermark, memdb.Change{Table: "names", ID: name, Row: raw})
	return c
}

// gives has a peer's claim go.
func (w *world) gives(peer, name string) {
	w.says(peer, w.db.Confirmed(peer), memdb.Change{Table: "names", ID: name, Deleted: true})
}

func (w *world) says(peer string, confirmed uint64, changes ...memdb.Change) {
	b := memdb.Batch{Incarnation: 1, From: w.last[peer], Confirmed: confirmed, Changes: changes}
	for i := range changes {
		w.last[peer]++
		changes[i].Seq = w.last[peer]
	}
	a, err := w.db.Apply(peer, b)
	require.NoError(w.t, err)
	w.Applied(w.now, peer, a)
	w.take()
}

// asked takes the one question that is to be asked of a peer.
func (w *world) asked(peer string) Call {
	w.t.Helper()
	require.NotEmpty(w.t, w.calls, "%s is asked", peer)
	call := w.calls[0]
	require.Equal(w.t, peer, call.Peer)
	w.calls = w.calls[1:]
	return call
}

func (w *world) quiet() {
	w.t.Helper()
	require.Empty(w.t, w.calls, "nobody is asked")
}

func (w *world) answer(call Call, told ...Told) {
	w.Answered(w.now, call.ID, &Answer{told}, nil)
	w.take()
}

func (w *world) fail(call Call) {
	w.Answered(w.now, call.ID, nil, errs.New(errs.Timeout, "no answer"))
	w.take()
}

// none is what a peer says that has no claim, at its last change but some.
func (w *world) none(peer string) Told {
	return Told{Position: memdb.Position{Incarnation: 1, Seq: w.last[peer]}}
}

func (w *world) holds(c memdb.Claim, confirmed bool) Told {
	return Told{Claim: &c, Confirmed: confirmed, Position: memdb.Position{Incarnation: 1, Seq: w.last[c.Node]}}
}

// pass lets time pass, with the ticks that are asked for.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for ticks := 0; !w.Next().IsZero() && !w.Next().After(end); ticks++ {
		require.Less(w.t, ticks, 1000, "it does not ask for ticks without end")
		if w.Next().After(w.now) {
			w.now = w.Next()
		}
		w.Tick(w.now)
		w.take()
	}
	w.now = end
}

// ok is the claim that a request ended with.
func (w *world) ok(id uint64) Done {
	w.t.Helper()
	require.Contains(w.t, w.done, id, "it has ended")
	require.NoError(w.t, w.done[id].Err)
	return w.done[id]
}

func (w *world) failed(id uint64, kind errs.Kind, text string) *errs.Error {
	w.t.Helper()
	require.Contains(w.t, w.done, id, "it has ended")
	require.Equal(w.t, kind, errs.KindOf(w.done[id].Err), "%v", w.done[id].Err)
	require.ErrorContains(w.t, w.done[id].Err, text)
	return errs.From(w.done[id].Err)
}

func (w *world) waits(id uint64) {
	w.t.Helper()
	require.NotContains(w.t, w.done, id, "it has not ended")
}

// idle is what every test ends with: nothing is left under way.
func (w *world) idle() {
	w.t.Helper()
	require.Empty(w.t, w.Busy())
	require.Empty(w.t, w.bound)
}

func (w *world) own(name string) (memdb.Claimed, bool) { return w.db.View().Claim(name, "n1") }

// told lists the events.
func (w *world) told() string {
	var list []string
	for _, e := range w.events {
		list = append(list, string(e.Type)+" "+e.Claim.Name)
	}
	w.events = nil
	return strings.Join(list, ", ")
}

// runs stores a process of n1.
func (w *world) runs(pid string, state memdb.ProcessState) {
	_, err := w.db.Update(func(tx *memdb.Tx) error {
		return tx.PutProcess(memdb.Process{PID: pid, Node: "n1", State: state})
	})
	require.NoError(w.t, err)
}
