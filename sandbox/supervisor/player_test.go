package supervisor_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/sandbox/supervisor"
)

// player feeds a core with inputs written as text and tells its outputs as
// text. Commands are answered at once, starts as "fail" has said, unless the
// player holds.
type player struct {
	t       *testing.T
	core    *supervisor.Core
	now     time.Time
	calls   uint64
	fails   []string // whose next starts fail
	held    []supervisor.Output
	holding bool
	story   []string
}

// play tells what a supervisor does with the inputs, one text each: all outputs
// of the first start, then of each input.
func play(t *testing.T, s supervisor.Spec, inputs ...string) string {
	p := &player{t: t, core: supervisor.NewCore(s), now: epoch}
	for len(inputs) > 0 && strings.HasPrefix(inputs[0], "fail") {
		p.input(inputs[0])
		inputs = inputs[1:]
	}
	p.step(supervisor.Begin{})
	for _, in := range inputs {
		p.story = append(p.story, "|")
		p.input(in)
	}
	return strings.Join(p.story, " ")
}

func (p *player) input(text string) {
	words := append(strings.Fields(text), "", "")
	verb, child, more := words[0], words[1], words[2]
	switch verb {
	case "fail":
		p.fails = append(p.fails, child)
	case "wait":
		d, err := time.ParseDuration(child)
		require.NoError(p.t, err)
		p.now = p.now.Add(d)
	case "hold":
		p.holding = true
	case "go":
		p.holding = false
		held := p.held
		p.held = nil
		for _, out := range held {
			p.answer(out)
		}
	case "exit":
		p.step(supervisor.Exited{Child: child, Reason: supervisor.Reason(more), Why: "told to"})
	case "shutdown":
		p.step(supervisor.Shutdown{})
	case "withdraw":
		p.step(supervisor.Withdraw{Number: p.calls})
	default:
		p.calls++
		p.step(supervisor.Call{Number: p.calls, Request: p.request(verb, child, more)})
	}
}

func (p *player) request(verb, child, more string) supervisor.Request {
	switch verb {
	case "start_child":
		return supervisor.StartChild{Spec: supervisor.ChildSpec{ID: child, Restart: supervisor.Restart(more)}}
	case "terminate_child":
		return supervisor.TerminateChild{Child: child}
	case "restart_child":
		return supervisor.RestartChild{Child: child}
	case "delete_child":
		return supervisor.DeleteChild{Child: child}
	case "which_children":
		return supervisor.WhichChildren{}
	case "count_children":
		return supervisor.CountChildren{}
	}
	p.t.Fatalf("no input %q", verb)
	return nil
}

func (p *player) step(in supervisor.Input) {
	for _, out := range p.core.Step(p.now, in) {
		p.tell(out)
		switch out.(type) {
		case supervisor.Start, supervisor.Stop:
			if p.holding {
				p.held = append(p.held, out)
			} else {
				p.answer(out)
			}
		}
	}
}

func (p *player) answer(out supervisor.Output) {
	switch out := out.(type) {
	case supervisor.Stop:
		p.step(supervisor.Exited{Child: out.Child, Reason: supervisor.ReasonShutdown})
	case supervisor.Start:
		for i, id := range p.fails {
			if id == out.Child {
				p.fails = append(p.fails[:i], p.fails[i+1:]...)
				p.step(supervisor.StartFailed{Child: id, Err: errors.New("refused")})
				return
			}
		}
		p.step(supervisor.Started{Child: out.Child})
	}
}

func (p *player) tell(out supervisor.Output) {
	text := ""
	switch out := out.(type) {
	case supervisor.Start:
		text = "+" + out.Child
	case supervisor.Stop:
		text = "-" + out.Child
	case supervisor.Leave:
		text = "leave:" + out.Child
	case supervisor.Running:
		text = "running"
	case supervisor.GiveUp:
		text = "giveup"
	case supervisor.Ended:
		text = "ended"
	case supervisor.Reply:
		switch {
		case out.Err != nil:
			text = word(out.Err)
		case out.Children != nil:
			text = which(out.Children)
		case out.Counts != supervisor.Counts{}:
			text = count(out.Counts)
		default:
			text = "ok"
		}
	default:
		text = fmt.Sprintf("%T", out)
	}
	p.story = append(p.story, text)
}
