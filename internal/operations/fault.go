package operations

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/fault"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
)

// FaultEvent names a change of a node's faults; the data is the fault.Rule.
type FaultEvent string

// The types.
const (
	FaultInjected FaultEvent = "FaultInjected"
	FaultHealed   FaultEvent = "FaultHealed"
)

// linkParams say which link of a node is meant, and for how long.
type linkParams struct {
	Peer      string `json:"peer" op:"required" doc:"the peer to whom the link goes"`
	Direction string `json:"direction" enum:"in,out,both" default:"both" doc:"in holds what comes from the peer, out what goes to it"`
	TTLMS     int64  `json:"ttl_ms" default:"10000" min:"1" max:"3600000" doc:"it heals by itself after this long"`
}

// FaultCutParams are those of fault.cut.
type FaultCutParams struct{ linkParams }

// FaultDelayParams are those of fault.delay.
type FaultDelayParams struct {
	linkParams
	MS int64 `json:"ms" op:"required" min:"1" max:"60000" doc:"how much later everything passes, each way"`
}

// FaultDropParams are those of fault.drop.
type FaultDropParams struct {
	Peer string `json:"peer" op:"required" doc:"the peer whose connections are closed"`
}

// FaultHealParams say which faults are over.
type FaultHealParams struct {
	ID   string `json:"id" doc:"the one with this id"`
	Peer string `json:"peer" doc:"those with this peer"`
}

// FaultList is the faults of one node.
type FaultList struct {
	Allowed bool         `json:"allowed"` // the node was started with --allow-faults
	Faults  []fault.Rule `json:"faults"`  // oldest first
}

// Dropped tells how many connections were closed.
type Dropped struct {
	Connections int `json:"connections"`
}

// Healed lists the faults that were ended.
type Healed struct {
	Healed []fault.Rule `json:"healed"`
}

func faultOps(d Deps) []*op.Op {
	const place = "The fault is of the node asked, or of `node`. It needs a node started with `--allow-faults`."
	return []*op.Op{
		op.Define(op.Spec{
			Name: "fault.cut", Summary: "Cut a node's link to a peer for a while", Method: http.MethodPost, Path: "/faults/cut",
			Command: "fault cut PEER", Effect: op.Destructive, Runs: op.Anywhere, Early: true, Status: http.StatusCreated,
			Description: "What is cut is held, as by a network that loses everything, and goes on when the fault is over. " + place,
			Errors:      []errs.Kind{errs.Forbidden, errs.NotFound, errs.Conflict},
		}, func(_ context.Context, in FaultCutParams) (fault.Rule, error) {
			return d.addFault(fault.Rule{Kind: fault.Cut}, in.linkParams)
		}),
		op.Define(op.Spec{
			Name: "fault.delay", Summary: "Delay what passes between a node and a peer for a while", Method: http.MethodPost, Path: "/faults/delay",
			Command: "fault delay PEER MS", Effect: op.Destructive, Runs: op.Anywhere, Early: true, Status: http.StatusCreated,
			Description: place, Errors: []errs.Kind{errs.Forbidden, errs.NotFound, errs.Conflict},
		}, func(_ context.Context, in FaultDelayParams) (fault.Rule, error) {
			return d.addFault(fault.Rule{Kind: fault.Delay, DelayMS: in.MS}, in.linkParams)
		}),
		op.Define(op.Spec{
			Name: "fault.drop", Summary: "Close all connections between a node and a peer, once", Method: http.MethodPost, Path: "/faults/drop",
			Command: "fault drop PEER", Effect: op.Destructive, Runs: op.Anywhere, Early: true,
			Description: place, Errors: []errs.Kind{errs.Forbidden, errs.NotFound},
		}, func(_ context.Context, in FaultDropParams) (Dropped, error) {
			if err := d.mayBreak(in.Peer); err != nil {
				return Dropped{}, err
			}
			return Dropped{d.Faults.Drop(in.Peer)}, nil
		}),
		op.Define(op.Spec{
			Name: "fault.heal", Summary: "End a node's faults: one, those with a peer, or all", Method: http.MethodPost, Path: "/faults/heal",
			Command: "fault heal", Effect: op.Write, Runs: op.Anywhere, Early: true,
			Errors:   []errs.Kind{errs.NotFound},
			Examples: []op.Example{{Summary: "all", Params: `{}`}},
		}, d.healFaults),
		op.Define(op.Spec{
			Name: "fault.list", Summary: "List a node's faults in force", Method: http.MethodGet, Path: "/faults",
			Command: "fault list", Effect: op.Read, Runs: op.Anywhere, Early: true,
			Examples: []op.Example{{Summary: "of the node asked", Params: `{}`}},
		}, func(context.Context, struct{}) (FaultList, error) {
			return FaultList{d.Faults != nil, d.faults()}, nil
		}),
	}
}

// faults are those in force on this node.
func (d Deps) faults() []fault.Rule {
	if d.Faults == nil {
		return []fault.Rule{}
	}
	return d.Faults.Rules()
}

// mayBreak refuses where faults are not allowed, and for what is no peer.
func (d Deps) mayBreak(peer string) error {
	if d.Faults == nil {
		return errs.New(errs.Forbidden, "node %s was not started with --allow-faults, so it breaks nothing on purpose", d.Self)
	}
	isPeer := func(m cluster.Member) bool { return m.Name == peer && !m.Self }
	if !slices.ContainsFunc(d.Members(), isPeer) {
		return errs.New(errs.NotFound, "node %s has no peer %q; cluster.status lists them", d.Self, peer)
	}
	return nil
}

func (d Deps) addFault(r fault.Rule, in linkParams) (fault.Rule, error) {
	if err := d.mayBreak(in.Peer); err != nil {
		return fault.Rule{}, err
	}
	r.Peer, r.Direction = in.Peer, fault.Direction(in.Direction)
	return d.Faults.Add(r, time.Duration(in.TTLMS)*time.Millisecond)
}

func (d Deps) healFaults(_ context.Context, in FaultHealParams) (Healed, error) {
	if d.Faults == nil {
		return Healed{[]fault.Rule{}}, nil
	}
	healed := d.Faults.HealWhere(func(r fault.Rule) bool {
		return (in.ID == "" || in.ID == r.ID) && (in.Peer == "" || in.Peer == r.Peer)
	}, "healed by request")
	if in.ID != "" && len(healed) == 0 {
		return Healed{}, errs.New(errs.NotFound, "node %s has no fault %q in force; fault.list shows them", d.Self, in.ID)
	}
	return Healed{healed}, nil
}
