package registry

import (
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/sabotage"
	"github.com/glassbox-dev/glassbox/memdb"
)

// AskMethod asks a node for its own claims to names.
const AskMethod = "registry.ask"

// Ask is the question.
type Ask struct {
	Names []string `json:"names"`
}

// Told is what a node says of its claim to a name.
type Told struct {
	Claim     *memdb.Claim `json:"claim,omitempty"` // nil: it has none
	Confirmed bool         `json:"confirmed,omitempty"`
	// Leaving says that it has given the name up, and that not all know it yet:
	// some may still show it as the holder.
	Leaving bool `json:"leaving,omitempty"`
	// Position is where its changes were when it said so.
	Position memdb.Position `json:"position"`
}

// Answer is the answer to an [Ask]: one for each name.
type Answer struct {
	Told []Told `json:"told"`
}

// Handle answers a peer's question.
func (c *Core) Handle(_ string, ask *Ask) (*Answer, error) {
	if len(ask.Names) > askMost {
		return nil, errs.New(errs.TooLarge, "at most %d names can be asked for at once, not %d", askMost, len(ask.Names))
	}
	answer := &Answer{Told: make([]Told, len(ask.Names))}
	for i, name := range ask.Names {
		answer.Told[i] = c.tell(name)
	}
	return answer, nil
}

// tell says what this node's claim to a name is.
func (c *Core) tell(name string) Told {
	t := Told{Position: c.cfg.DB.Position(c.cfg.Self)}
	if own, ok := c.cfg.DB.View().Claim(name, c.cfg.Self); ok {
		t.Claim, t.Confirmed = &own.Claim, own.Confirmed
	} else {
		_, t.Leaving = c.leaving[name]
		t.Leaving = t.Leaving && !sabotage.Breaks("let a name go before all know")
	}
	return t
}

// ask asks a peer for its claim to a name. All questions of one step go in one
// message.
func (c *Core) ask(peer, name string, heard func(now time.Time, t *Told, err error)) {
	if c.asks[peer] == nil {
		c.asks[peer] = map[string][]func(time.Time, *Told, error){}
	}
	c.asks[peer][name] = append(c.asks[peer][name], heard)
}

// Answered takes an answer to a call.
func (c *Core) Answered(now time.Time, id uint64, answer *Answer, err error) {
	c.flush(now)
	call, ok := c.calls[id]
	if !ok {
		return
	}
	delete(c.calls, id)
	if err == nil && (answer == nil || len(answer.Told) != len(call.names)) {
		err = errs.New(errs.BadParameter, "node %s was asked for %d names and answered otherwise; the nodes may be of different versions", call.peer, len(call.names))
	}
	for i, name := range call.names {
		var t *Told
		if err == nil {
			t = &answer.Told[i]
			if t.Claim != nil && (t.Claim.Node != call.peer || t.Claim.Name != name) {
				t.Claim = nil // it speaks for itself only
			}
		}
		for _, heard := range call.heard[name] {
			heard(now, t, err)
		}
	}
	c.settle(now)
}
