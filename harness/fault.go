package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Action names what a [Fault] does.
type Action string

// The actions.
const (
	Kill   Action = "kill"   // SIGKILL
	Freeze Action = "freeze" // SIGSTOP, or the engine's pause
	Cut    Action = "cut"    // the link loses everything
	Delay  Action = "delay"  // the link is slow
	Lose   Action = "lose"   // the link loses packets
	Leave  Action = "leave"  // the node is asked to end
	Start  Action = "start"  // the node is started again
	Thaw   Action = "thaw"   // a frozen one goes on
	Heal   Action = "heal"   // all links are mended

	// Only the simulator can do these.
	Pause  Action = "pause"  // a freeze of the whole machine: its clock stands still, [Thaw] ends it
	Stall  Action = "stall"  // the node answers pings and applies nothing, until [Heal]
	Reject Action = "reject" // the link's connections go on, new ones are refused
	Drop   Action = "drop"   // the link's connections are reset
)

// Fault is one thing done to a cluster, or its end.
type Fault struct {
	Action Action
	Node   string // the victim; of Cut, Delay and Lose it is the link's Node
	Link   Link   // of Cut, Delay and Lose
}

// check says what is wrong with a fault, nil if nothing is.
func (f Fault) check() error {
	switch f.Action {
	case Kill, Freeze, Leave, Start, Thaw:
		return f.checkNode()
	case Heal:
		if f != (Fault{Action: Heal}) {
			return errors.New("heal mends all links; it takes no node and no link")
		}
		return nil
	case Cut, Delay, Lose:
		return f.checkLink()
	default:
		return fmt.Errorf("there is no action %q", f.Action)
	}
}

func (f Fault) checkNode() error {
	switch {
	case f.Node == "":
		return fmt.Errorf("%s needs a node", f.Action)
	case f.Link != Link{}:
		return fmt.Errorf("%s takes no link", f)
	}
	return nil
}

func (f Fault) checkLink() error {
	l := f.Link
	switch {
	case l.Node == "":
		return fmt.Errorf("%s needs the link's node", f.Action)
	case f.Node != "" && f.Node != l.Node:
		return fmt.Errorf("%s: its victim is the link's node, not %s", f, f.Node)
	case l.Node == l.Peer:
		return fmt.Errorf("%s: that is no link", f)
	case !slices.Contains([]Direction{Both, In, Out}, l.direction()):
		return fmt.Errorf("%s: there is no direction %q; there are %s, %s, %s", f, l.Direction, Both, In, Out)
	case (f.Action == Delay) != (l.Delay > 0) || l.Delay < 0:
		return fmt.Errorf("%s with a delay of %s; only delay has one, above 0", f, l.Delay)
	case (f.Action == Lose) != (l.Loss > 0) || !(l.Loss >= 0 && l.Loss <= 1):
		return fmt.Errorf("%s with a loss of %g; only lose has one, above 0 and at most 1", f, l.Loss)
	}
	return nil
}

// complete fills the victim of a link's fault in.
func (f Fault) complete() Fault {
	if f.Node == "" {
		f.Node = f.Link.Node
	}
	return f
}

// String says it in a few words: "cut n3 (both) from all".
func (f Fault) String() string {
	switch f.Action {
	case Cut, Delay, Lose, Reject, Drop:
		peer := f.Link.Peer
		if peer == "" {
			peer = "all"
		}
		return fmt.Sprintf("%s %s (%s) from %s", f.Action, f.Link.Node, f.Link.direction(), peer)
	default:
		return strings.TrimSpace(string(f.Action) + " " + f.Node)
	}
}

func (l Link) direction() Direction {
	if l.Direction == "" {
		return Both
	}
	return l.Direction
}

// CutOff cuts a node off from all others.
func CutOff(node string, d Direction) Fault {
	return Fault{Action: Cut, Node: node, Link: Link{Node: node, Direction: d}}
}

// CutLink cuts the link between two nodes.
func CutLink(node, peer string, d Direction) Fault {
	return Fault{Action: Cut, Node: node, Link: Link{Node: node, Peer: peer, Direction: d}}
}

// ends reports whether the action ends the node's process, or starts another.
func (f Fault) ends() bool { return f.Action == Kill || f.Action == Leave || f.Action == Start }

// Mends reports whether the action ends faults.
func (f Fault) Mends() bool { return f.Action == Start || f.Action == Thaw || f.Action == Heal }

// apply does it and returns when it took effect.
func (f Fault) apply(ctx context.Context, c Cluster) (time.Time, error) {
	now := time.Now()
	switch f.Action {
	case Kill:
		return c.Kill(ctx, f.Node)
	case Freeze:
		return c.Freeze(ctx, f.Node)
	case Thaw:
		return c.Thaw(ctx, f.Node)
	case Leave:
		return now, c.Stop(ctx, f.Node)
	case Start:
		return now, c.Start(ctx, f.Node)
	case Heal:
		return c.Heal(ctx)
	case Cut, Delay, Lose:
		return c.Break(ctx, f.Link)
	default:
		return now, fmt.Errorf("no action %q", f.Action)
	}
}
