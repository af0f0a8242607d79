package sim

import (
	"fmt"
	"time"

	"github.com/glassbox-dev/glassbox/memdb"
)

// History is what was asked and answered in a run.
type History struct {
	Entries []*Entry
	order   int64
}

// Outcome is how a run came out.
type Outcome struct {
	Plan    Plan
	Broken  []string // the rules that were seen broken; none is a pass
	Log     string   // what happened, a line each: the same seed gives the same bytes
	History History
	Virtual time.Duration
	Real    time.Duration
}

// Passed reports whether no rule was seen broken.
func (o *Outcome) Passed() bool { return len(o.Broken) == 0 }

// Run carries out a plan.
func Run(p Plan) (*Outcome, error) {
	began := time.Now()
	c, err := New(p.Seed, p.Nodes, p.Preset)
	if err != nil {
		return nil, err
	}
	c.far = p.Links
	c.heal()
	h := &History{}
	c.world.Run(forming)
	if why := c.whole(); why != "" {
		c.broken("not formed after %s: %s", forming, why)
	}
	for i, act := range p.Acts {
		if len(c.faults) > 0 {
			break // what follows a broken rule says nothing
		}
		if err := c.play(h, i, act); err != nil {
			return nil, err
		}
	}
	return &Outcome{
		Plan: p, Broken: c.faults, Log: c.text.String(), History: *h,
		Virtual: c.world.Now().Sub(epoch), Real: time.Since(began),
	}, nil
}

// play carries out one act.
func (c *Cluster) play(h *History, number int, act Act) (err error) {
	c.log("== act %d, %s", number+1, map[bool]string{true: "nothing is broken", false: "with faults"}[act.Whole])
	begun, first := c.world.Now(), len(h.Entries)
	before := c.holders()
	c.gentle = act.gentle(len(c.names))
	deaths, failed, conflicts := c.deaths, c.failed, len(c.conflicts)
	for _, f := range act.Faults {
		c.world.At(begun.Add(f.At), func() {
			if failed := c.Apply(f.Fault); failed != nil {
				err = failed
			}
		})
	}
	for _, o := range act.Ops {
		c.world.At(begun.Add(o.At), func() { c.perform(h, o) })
	}
	var since int64
	if act.Joining {
		c.world.At(begun.Add(joiningFrom), func() { c.awaitWhole(h, &since) })
	}
	c.world.RunUntil(begun.Add(act.Length))
	if act.Bridged {
		c.world.Run(opTimeout) // what is under way ends before the link is mended
	}
	if !act.Whole {
		// What was to end later ends now.
		last := begun.Add(act.Length)
		for _, f := range act.Faults {
			if at := begun.Add(f.At); at.After(last) {
				last = at
			}
		}
		c.world.RunUntil(last)
		c.checkDetected()
		c.endAllTrouble()
	}
	c.world.Run(act.Quiet)
	entries := h.Entries[first:]
	c.checkState(entries)
	c.checkKept(h.Entries)
	if act.Whole {
		if c.deaths > deaths {
			c.broken("nothing was broken, and a member was suspected")
		}
		if len(c.conflicts) > conflicts {
			c.broken("nothing was broken, and there was a conflict about %q", c.conflicts[conflicts].Claim.Name)
		}
	}
	if act.Bridged && c.failed > failed {
		c.broken("two nodes could not talk, and a member was taken for dead")
	}
	// What is promised is promised while members are suspected, too: only then it may
	// take too long.
	if act.Whole || act.Bridged || act.survivable() && c.failed == failed {
		c.checkAnswers(entries, before, !act.Whole && !act.Bridged)
	}
	if act.Joining && since > 0 {
		c.checkJoined(entries, since)
	}
	return err
}

// joiningFrom is when the node of an act of joining has started again, and how
// often it is looked whether it has joined.
const (
	joiningFrom  = 501 * time.Millisecond
	joiningEvery = 200 * time.Microsecond
)

// awaitWhole notes the moment from which on the cluster is whole.
func (c *Cluster) awaitWhole(h *History, since *int64) {
	if c.whole() == "" {
		c.log("-- all have joined")
		h.order++
		*since = h.order
		return
	}
	c.world.After(joiningEvery, func() { c.awaitWhole(h, since) })
}

// holders tells who holds each name, by the holders' own rows.
func (c *Cluster) holders() map[string]memdb.Claim {
	held := map[string]memdb.Claim{}
	for _, name := range c.names {
		n := c.nodes[name]
		if n.down {
			continue
		}
		for claim := range n.db.View().Holders("", "") {
			if claim.Node == name && claim.Confirmed {
				held[claim.Name] = claim.Claim
			}
		}
	}
	return held
}

// Command is what repeats a mixed run.
func Command(seed uint64, nodes int) string { return command(MixedScenario, seed, nodes) }

func command(scenario string, seed uint64, nodes int) string {
	return fmt.Sprintf("glassbox verify --target sim --scenario %s --seed %d --nodes %d", scenario, seed, nodes)
}
