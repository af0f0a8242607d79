package registry

import (
	"time"

	"github.com/glassbox-dev/glassbox/memdb"
)

// EventType names what happened to a name.
type EventType string

// The types.
const (
	NameRegistered   EventType = "NameRegistered"
	NameUnregistered EventType = "NameUnregistered"
	NameConflict     EventType = "NameConflict" // two nodes held it, one gives it up
)

// EventTypes lists all types.
func EventTypes() []EventType { return []EventType{NameRegistered, NameUnregistered, NameConflict} }

// Event is told by the node whose claim it is about: in a conflict the loser's.
type Event struct {
	Type   EventType
	Claim  memdb.Claim
	Winner *memdb.Claim // of a conflict
	Why    string
}

func (c *Core) emit(t EventType, claim memdb.Claim, why string) {
	c.out.Events = append(c.out.Events, Event{Type: t, Claim: claim, Why: why})
}

func (c *Core) conflict(loser, winner memdb.Claim, why string) {
	c.out.Events = append(c.out.Events, Event{Type: NameConflict, Claim: loser, Winner: &winner, Why: why})
}

// remove withdraws a claim that was confirmed.
func (c *Core) remove(claim memdb.Claim, why string) (memdb.Position, error) {
	position, err := c.write(func(tx *memdb.Tx) error { return tx.DeleteClaim(claim.Name) })
	if err != nil {
		return position, err
	}
	c.unbind(claim.PID, claim.Name)
	c.note(c.leaving, claim.Name, position.Seq)
	c.emit(NameUnregistered, claim, why)
	return position, nil
}

// bind notes that a name goes with a process.
func (c *Core) bind(pid, name string) {
	if pid == "" {
		return
	}
	if c.bound[pid] == nil {
		c.bound[pid] = map[string]bool{}
	}
	c.bound[pid][name] = true
}

func (c *Core) unbind(pid, name string) {
	delete(c.bound[pid], name)
	if len(c.bound[pid]) == 0 {
		delete(c.bound, pid)
	}
}

// Ended gives up the names of a process that has ended.
func (c *Core) Ended(now time.Time, pid, why string) {
	c.flush(now)
	for _, name := range sorted(c.bound[pid]) {
		own, has := c.cfg.DB.View().Claim(name, c.cfg.Self)
		if !has {
			continue
		}
		if s := c.slots[name]; s != nil && s.wrote && s.since != 0 {
			s.withdraw() // it was never confirmed
		} else if _, err := c.remove(own.Claim, why); err != nil {
			c.cfg.Log.Error("the name of a process that has ended was not given up", "name", name, "err", err)
		}
		if s := c.slots[name]; s != nil {
			c.judge(now, s)
		}
	}
	delete(c.bound, pid)
	c.settle(now)
}
