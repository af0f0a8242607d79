package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/sabotage"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Register wants a name for a process of this node, for a slot of it or, without
// either, for the node.
type Register struct {
	ID       uint64
	Name     string
	PID      string
	Sandbox  string // with Child: the slot, which keeps the name whatever process is in it
	Child    string
	Value    json.RawMessage
	Replace  bool // the value of a claim that the same holder has already
	Epoch    uint64
	Deadline time.Time
}

// Unregister gives a name of this node up.
type Unregister struct {
	ID       uint64
	Name     string
	Why      string
	Deadline time.Time
}

// slot is what goes on with one name on this node. Its requests run one after
// the other.
type slot struct {
	c      *Core
	name   string
	queue  []any // Register or Unregister; the first runs
	since  uint64
	wrote  bool // the running request has written its claim, or deleted it
	rivals map[string]*rival
	// round counts the requests: what was asked for an earlier one may have been
	// answered before this one began, and says nothing to it.
	round int
	// unreachable says who may hold the name and could not be asked.
	unreachable error
}

func (c *Core) slot(name string) *slot {
	s := c.slots[name]
	if s == nil {
		s = &slot{c: c, name: name}
		c.slots[name] = s
	}
	return s
}

// Register begins a request.
func (c *Core) Register(now time.Time, r Register) { c.request(now, r.Name, r, r.Deadline) }

// Unregister begins a request.
func (c *Core) Unregister(now time.Time, u Unregister) {
	c.flush(now)
	c.request(now, u.Name, u, u.Deadline)
}

func (c *Core) request(now time.Time, name string, request any, deadline time.Time) {
	s := c.slot(name)
	s.queue = append(s.queue, request)
	c.next.Ask(deadline)
	if len(s.queue) > 1 {
		return
	}
	c.now, c.gathers = now, true
	c.judge(now, s)
	c.gathers = false
	if len(c.claims) == 0 {
		c.settle(now)
	}
}

// judge does whatever is to be done about a name now.
func (c *Core) judge(now time.Time, s *slot) {
	for {
		running := len(s.queue)
		own, has := c.cfg.DB.View().Claim(s.name, c.cfg.Self)
		switch {
		case running == 0:
			if has {
				s.contest(now, &own)
			} else {
				clear(s.rivals)
				delete(c.contested, s.name)
				delete(c.shared, s.name)
			}
		default:
			switch r := s.queue[0].(type) {
			case Register:
				s.register(now, r, own, has)
			case Unregister:
				s.unregister(now, r, own, has)
			}
		}
		if len(s.queue) == running {
			break
		}
	}
	if len(s.queue) == 0 && len(s.rivals) == 0 {
		delete(c.slots, s.name)
	}
}

// wants is when the slot is to be judged again.
func (s *slot) wants(now time.Time) time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, request := range s.queue {
		switch r := request.(type) {
		case Register:
			sooner(r.Deadline)
		case Unregister:
			sooner(r.Deadline)
		}
	}
	for _, r := range s.rivals {
		if !r.asking && !r.worse {
			sooner(r.after)
		}
	}
	return at
}

// end ends the running request; the next begins.
func (s *slot) end(d Done) {
	s.c.done(d)
	s.queue, s.wrote, s.since, s.unreachable = s.queue[1:], false, 0, nil
	s.round++
	for _, r := range s.rivals {
		r.asking, r.after = false, time.Time{}
	}
}

func (s *slot) register(now time.Time, r Register, own memdb.Claimed, has bool) {
	switch {
	case s.wrote:
		s.pending(now, r, own, has)
	case !now.Before(r.Deadline):
		s.end(Done{ID: r.ID, Err: notBegun(s.name, s.waitsFor())})
	case has:
		s.again(r, own)
	default:
		s.contest(now, nil)
		switch {
		case !s.runs(r.ID): // refused
		case s.unreachable != nil:
			s.end(Done{ID: r.ID, Err: s.unreachable})
		case !s.blocked():
			s.claim(now, r)
		}
	}
}

// claim writes the claim and sends it to all: at once, or with those of the
// requests that come together with this one.
func (s *slot) claim(now time.Time, r Register) {
	s.wrote = true
	s.c.claims = append(s.c.claims, claiming{s, r.ID, r.claim(s.c.cfg.Self, s.c.stamp(now))})
	if !s.c.gathers {
		s.c.flush(now)
	}
}

// claim is the claim that the request wants.
func (r Register) claim(node string, stamp uint64) memdb.Claim {
	return memdb.Claim{Name: r.Name, Node: node, PID: r.PID, Sandbox: r.Sandbox, Child: r.Child, Value: r.Value, Epoch: r.Epoch, Stamp: stamp}
}

// claiming is a claim that is to be written.
type claiming struct {
	slot  *slot
	id    uint64 // of the request
	claim memdb.Claim
}

// flush writes the claims of requests that came together. Everything but another
// register comes after it: only that one looks at no claim of this node to any
// other name, and waits in the queue of its own.
func (c *Core) flush(now time.Time) {
	if len(c.claims) == 0 {
		return
	}
	claims := c.claims
	c.claims, c.flushed = nil, true
	rows := make([]memdb.Claim, len(claims))
	for i := range claims {
		rows[i] = claims[i].claim
	}
	seqs, failed := c.cfg.DB.Claims(rows, c.mayClaim)
	for i, one := range claims {
		s := one.slot
		if failed[i] != nil {
			s.end(Done{ID: one.id, Err: failed[i]})
			c.judge(now, s)
			continue
		}
		c.out.Wrote = true
		c.bind(one.claim.PID, s.name)
		s.since = seqs[i]
		c.unsettled = append(c.unsettled, s)
	}
}

// mayClaim refuses a claim for a process that does not run here.
func (c *Core) mayClaim(v memdb.View, claim memdb.Claim) error {
	if claim.PID == "" {
		return nil
	}
	if p, ok := v.Process(claim.PID); !ok || p.Node != c.cfg.Self || p.Ended() {
		return errs.BadParam("pid", "no process %q runs on node %s", claim.PID, c.cfg.Self)
	}
	return nil
}

// renew puts a claim behind all others that are not settled.
func (s *slot) renew() {
	position, err := s.c.write(func(tx *memdb.Tx) error { return tx.RenewClaim(s.name) })
	if err != nil {
		s.c.cfg.Log.Error("a claim was not put behind others", "name", s.name, "err", err)
		return
	}
	s.withdrawn()
	s.since = position.Seq
	s.c.unsettled = append(s.c.unsettled, s)
}

// pending looks after a claim that is not confirmed yet.
func (s *slot) pending(now time.Time, r Register, own memdb.Claimed, has bool) {
	if !has { // its process has ended
		err := errs.New(errs.Conflict, "process %s ended before it had the name %q", r.PID, s.name)
		if s.since == 0 { // it had it, and some may have seen the new value
			err = errs.New(errs.Conflict, "process %s has ended, and the name %q is given up", r.PID, s.name)
			err.Unsure = true
		}
		s.withdrawn()
		s.end(Done{ID: r.ID, Err: err})
		return
	}
	s.contest(now, &own)
	err := s.unreachable
	if err == nil && !now.Before(r.Deadline) {
		err = late(s.name, s.waitsFor())
	}
	switch {
	case err == nil:
	case s.since == 0: // a new value of a claim that stays
		s.end(Done{ID: r.ID, Err: unacknowledged()})
	default:
		s.withdraw()
		s.end(Done{ID: r.ID, Err: err})
	}
}

// waitsFor says what a request waits for, if that is a node that cannot be
// asked.
func (s *slot) waitsFor() error {
	for _, node := range sorted(s.rivals) {
		if err := s.rivals[node].err; err != nil {
			return errs.Wrap(errs.NodeUnavailable, err, "node %s may hold the name %q and cannot be asked", node, s.name)
		}
	}
	return nil
}

// confirmed ends the request whose claim is confirmed now.
func (s *slot) confirmed(now time.Time) {
	r, ok := s.queue[0].(Register)
	own, has := s.c.cfg.DB.View().Claim(s.name, s.c.cfg.Self)
	if !ok || !has {
		return // unreachable: what is withdrawn is not among the unsettled
	}
	s.c.emit(NameRegistered, own.Claim, "")
	s.end(Done{ID: r.ID, Claim: own.Claim, Created: true})
	s.c.judge(now, s)
}

// again registers a name that this node has already.
func (s *slot) again(r Register, own memdb.Claimed) {
	switch {
	case !own.SameHolder(r.claim(own.Node, 0)):
		s.refuse(own.Claim)
	case same(own.Value, r.Value) && sabotage.Breaks("answer a repeat before all know"):
		s.end(Done{ID: r.ID, Claim: own.Claim})
	case same(own.Value, r.Value):
		// Some may not have it yet: who asked for this value before did not wait for
		// them, or they have joined since.
		s.wrote = true
		s.acknowledge(max(own.Since, s.c.replaced[s.name]), Done{ID: r.ID, Claim: own.Claim})
	case !r.Replace:
		s.end(Done{ID: r.ID, Err: errs.New(errs.Conflict, "the name %q has another value already; to replace it say so (replace: true)", s.name)})
	default:
		own.Value = r.Value
		position, err := s.c.write(func(tx *memdb.Tx) error { return tx.PutClaim(own.Claim) })
		if err != nil {
			s.end(Done{ID: r.ID, Err: err})
			return
		}
		s.wrote = true
		s.c.note(s.c.replaced, s.name, position.Seq)
		s.acknowledge(position.Seq, Done{ID: r.ID, Claim: own.Claim, Created: true})
	}
}

func (s *slot) unregister(now time.Time, u Unregister, own memdb.Claimed, has bool) {
	switch {
	case s.wrote && now.Before(u.Deadline):
	case s.wrote:
		s.end(Done{ID: u.ID, Err: unacknowledged()})
	case !now.Before(u.Deadline):
		s.end(Done{ID: u.ID, Err: notBegun(s.name, nil)})
	case !has:
		s.end(Done{ID: u.ID, Err: errs.New(errs.NotFound, "node %s does not hold the name %q", s.c.cfg.Self, s.name)})
	default:
		position, err := s.c.remove(own.Claim, u.Why)
		if err != nil {
			s.end(Done{ID: u.ID, Err: err})
			return
		}
		s.wrote = true
		s.acknowledge(position.Seq, Done{ID: u.ID, Claim: own.Claim})
	}
}

// acknowledge ends the running request when all have acknowledged a change.
func (s *slot) acknowledge(seq uint64, d Done) {
	s.c.await(seq, func(now time.Time) {
		if !s.runs(d.ID) {
			return // it was too late
		}
		s.end(d)
		s.c.judge(now, s)
	})
}

func unacknowledged() error {
	return errs.New(errs.Timeout, "done here, but not acknowledged by all; they will know when they answer again")
}

func (s *slot) runs(id uint64) bool {
	if len(s.queue) == 0 {
		return false
	}
	switch r := s.queue[0].(type) {
	case Register:
		return r.ID == id
	case Unregister:
		return r.ID == id
	}
	return false
}

// refuse ends the running request: somebody else holds the name.
func (s *slot) refuse(holder memdb.Claim) {
	if len(s.queue) == 0 {
		return // a third's row was shown here, and nobody wants it any more
	}
	r, ok := s.queue[0].(Register)
	if !ok {
		return
	}
	s.end(Done{ID: r.ID, Claim: holder, Err: Taken(holder)})
}

// Taken is the error that names the holder of a name.
func Taken(holder memdb.Claim) *errs.Error {
	who := "node " + holder.Node
	switch {
	case holder.Child != "":
		who = fmt.Sprintf("child %q of sandbox %q on node %s", holder.Child, holder.Sandbox, holder.Node)
	case holder.PID != "":
		who = fmt.Sprintf("process %s of node %s", holder.PID, holder.Node)
	}
	return errs.New(errs.NameTaken, "the name %q is held by %s", holder.Name, who).WithNode(holder.Node)
}

// lose gives this node's claim up to the one that its holder has confirmed.
func (s *slot) lose(own memdb.Claimed, winner memdb.Claim) {
	s.forget(winner.Node)
	if s.wrote && s.since != 0 {
		s.withdraw()
		s.refuse(winner)
		return
	}
	why := conflictWhy(own.Claim, winner)
	s.c.conflict(own.Claim, winner, why)
	if _, err := s.c.remove(own.Claim, why); err != nil {
		s.c.cfg.Log.Error("a claim that has lost was not withdrawn", "name", s.name, "err", err)
	}
	if s.wrote { // a new value, which some may have seen
		err := Taken(winner)
		err.Unsure = true
		s.end(Done{ID: s.queue[0].(Register).ID, Claim: winner, Err: err})
	}
}

// conflictWhy says by which rule one claim wins.
func conflictWhy(loser, winner memdb.Claim) string {
	rule := fmt.Sprintf("node %s comes before node %s", winner.Node, loser.Node)
	switch {
	case winner.Epoch != loser.Epoch:
		rule = fmt.Sprintf("its epoch %d is above %d", winner.Epoch, loser.Epoch)
	case winner.Stamp < loser.Stamp:
		rule = fmt.Sprintf("it was registered %s earlier", time.Duration(loser.Stamp-winner.Stamp)*time.Microsecond)
	case winner.Stamp > loser.Stamp:
		rule = "the other was not confirmed"
	}
	return fmt.Sprintf("both held it while they did not see each other; node %s keeps it, since %s", winner.Node, rule)
}

// withdraw takes a claim back that was not confirmed.
func (s *slot) withdraw() {
	own, has := s.c.cfg.DB.View().Claim(s.name, s.c.cfg.Self)
	s.withdrawn()
	if !has || sabotage.Breaks("forget to withdraw") {
		return
	}
	s.c.unbind(own.PID, s.name)
	if _, err := s.c.write(func(tx *memdb.Tx) error { return tx.DeleteClaim(s.name) }); err != nil {
		s.c.cfg.Log.Error("a claim was not withdrawn", "name", s.name, "err", err)
	}
}

// withdrawn takes the slot out of those that are not settled.
func (s *slot) withdrawn() {
	if i := slices.Index(s.c.unsettled, s); i >= 0 {
		s.c.unsettled = slices.Delete(s.c.unsettled, i, i+1)
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
