package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/internal/errs"
)

// patience is how long a cluster may take to form, a fault to be known and the
// nodes to agree, in virtual time.
const patience = 30 * time.Second

// look is how finely in virtual time it is seen that all agree.
const look = time.Millisecond

// play is a scenario under way.
type play struct {
	scenario harness.Scenario
	c        *Cluster
	h        harness.History
	calling  bool
}

// RunScenario runs a scenario that also runs on processes and in containers, with
// the same objectives. What only real nodes have (memory, files, exit codes) is not
// measured.
func RunScenario(s harness.Scenario, nodes int, seed uint64) (*harness.Report, error) {
	if nodes == 0 {
		nodes = s.Nodes
	}
	if err := s.Fits(nodes); err != nil {
		return nil, errs.BadParam("nodes", "%s", err)
	}
	began := time.Now()
	p := &play{scenario: s}
	for start := range max(1, s.Starts) {
		c, err := New(seed+uint64(start), nodes, "lan")
		if err != nil {
			return nil, err
		}
		p.c = c
		p.h.Nodes = c.names
		p.form()
	}
	failure := p.work()
	return &harness.Report{
		Scenario: s.Name, About: s.About, Target: harness.TargetSim, Nodes: nodes, Began: began.UTC(), Took: time.Since(began),
		Repeat:  fmt.Sprintf("seed %d; its schedule is the scenario's own, and is not made smaller; repeat it: %s", seed, command(s.Name, seed, nodes)),
		Failure: failure, Results: harness.Judge(s, harness.TargetSim, &p.h),
	}, nil
}

// form waits until all have joined and see each other.
func (p *play) form() {
	f := harness.Formation{Started: epoch, Joined: map[string]time.Time{}}
	p.c.sighted = func(n *node, e cluster.Event) {
		p.h.Sightings = append(p.h.Sightings, harness.Sighting{
			Observer: n.name, Type: string(e.Type), Subject: e.Member, Why: e.Why, At: p.c.world.Now(),
		})
	}
	p.until(func() bool {
		for _, name := range p.c.names {
			if _, has := f.Joined[name]; !has && p.c.agrees(p.c.nodes[name], p.c.names) {
				f.Joined[name] = p.c.world.Now()
			}
		}
		return len(f.Joined) == len(p.c.names)
	})
	p.h.Formation = append(p.h.Formation, f)
}

// until lets time pass until something is so.
func (p *play) until(so func() bool) bool {
	for end := p.c.world.Now().Add(patience); p.c.world.Now().Before(end); p.c.world.Run(look) {
		if so() {
			return true
		}
	}
	return so()
}

// agrees reports whether a node sees exactly these alive and reaches them.
func (c *Cluster) agrees(n *node, up []string) bool {
	if n.down || n.frozen || !n.core.Ready() {
		return false
	}
	for _, m := range n.core.Members(n.now()) {
		if alive := m.State == cluster.Alive && m.Reach == cluster.ReachDirect; alive != slices.Contains(up, m.Name) {
			return false
		}
	}
	return true
}

// work does the steps, while calls are made.
func (p *play) work() (failure string) {
	w := p.c.world
	w.Run(p.scenario.Rest)
	p.h.Begun = w.Now()
	p.calling = p.scenario.Calls.Every > 0
	for i, name := range p.c.names {
		p.callEvery(name, append(append([]string{}, p.c.names[i+1:]...), p.c.names[:i]...), 0)
	}
	for round := range max(1, p.scenario.Rounds) {
		for _, step := range p.scenario.Steps {
			if err := p.step(step); err != nil {
				return fmt.Sprintf("round %d, %s: %s", round+1, step.Do, err)
			}
		}
	}
	if end := p.h.Begun.Add(p.scenario.Length); w.Now().Before(end) {
		w.RunUntil(end)
	}
	p.calling = false
	w.Run(p.scenario.Calls.Timeout + time.Second)
	p.h.Ended = w.Now()
	return ""
}

func (p *play) step(s harness.Step) error {
	switch s.When {
	case harness.Known:
		if len(p.h.Windows) > 0 {
			newest := p.h.Windows[len(p.h.Windows)-1]
			p.until(func() bool { return p.known(newest) })
		}
	case harness.Agreed:
		if p.until(p.agreed) {
			for i := range p.h.Windows {
				if w := &p.h.Windows[i]; w.Over.IsZero() && !w.Mended.IsZero() {
					w.Over = p.c.world.Now()
				}
			}
		}
	}
	p.c.world.Run(s.After)
	if s.Do.Action == "" {
		return nil
	}
	f := s.Do
	if f.Node == "" {
		f.Node = f.Link.Node
	}
	now := p.c.world.Now()
	if !f.Mends() {
		p.h.Windows = append(p.h.Windows, harness.Window{Fault: f, Begun: now, From: now, Observers: p.observers(f)})
	}
	if err := p.c.Apply(f); err != nil {
		return err
	}
	for i := range p.h.Windows {
		if w := &p.h.Windows[i]; w.Mended.IsZero() && f.Mends() && f.MendsWindow(w) {
			w.Mended = now
		}
	}
	return nil
}

func (p *play) observers(f harness.Fault) (names []string) {
	for _, name := range p.c.names {
		if n := p.c.nodes[name]; name != f.Node && !n.down && !n.frozen {
			names = append(names, name)
		}
	}
	return names
}

func (p *play) known(w harness.Window) bool {
	for _, observer := range w.Observers {
		if !slices.ContainsFunc(p.h.Sightings, func(s harness.Sighting) bool {
			return s.Observer == observer && s.Subject == w.Fault.Node && !s.At.Before(w.Begun) &&
				(s.Type == string(cluster.MemberFailed) || s.Type == string(cluster.MemberLeft))
		}) {
			return false
		}
	}
	return true
}

// agreed reports whether all that run agree.
func (p *play) agreed() bool {
	var up []string
	for _, name := range p.c.names {
		if !p.c.nodes[name].down {
			up = append(up, name)
		}
	}
	for _, name := range up {
		if !p.c.agrees(p.c.nodes[name], up) {
			return false
		}
	}
	return true
}

// callEvery makes the calls of one node, each at its time whether the last one was
// answered or not.
func (p *play) callEvery(caller string, callees []string, n int) {
	if !p.calling || len(callees) == 0 {
		return
	}
	p.call(caller, callees[n%len(callees)])
	p.c.world.After(p.scenario.Calls.Every, func() { p.callEvery(caller, callees, n+1) })
}

// margin is how much longer than the call's own timeout its answer is waited for.
const margin = 500 * time.Millisecond

func (p *play) call(caller, callee string) {
	w := p.c.world
	begun, over := w.Now(), false
	made := func(err error) {
		if over {
			return
		}
		over = true
		c := harness.Call{Caller: caller, Callee: callee, At: begun, Took: w.Now().Sub(begun)}
		if err != nil {
			c.Kind, c.Definite = string(errs.KindOf(err)), errs.From(err).Definite()
		}
		p.h.Calls = append(p.h.Calls, c)
	}
	n := p.c.nodes[caller]
	if n.down {
		made(errs.New(errs.NodeUnavailable, "node %s does not run", caller))
		return
	}
	w.After(p.scenario.Calls.Timeout+margin, func() { made(errs.New(errs.Timeout, "no answer in time")) })
	n.reads(func() {
		n.callNode(callee, p.scenario.Calls.Timeout, func(_ *node, answer func(any, error)) { answer(nil, nil) },
			func(_ any, err error) { made(err) })
		n.settle()
	})
}
