package exec

import "time"

// pulse judges from the answers to pings whether a guardian is frozen. It
// counts the node's own ticks and no time: a node that was itself frozen, or a
// whole machine that was, finds one tick due afterwards and not many.
//
// A loaded machine answers late, and to kill a guardian is to kill all its programs.
// So silence alone condemns only after hangingTicks, which no load reaches: the
// longest stalls seen with a hundred busy processes per processor were below two
// ticks. After frozenTicks the system is asked: a process that is stopped gets
// no further by waiting, however slow the machine is.
type pulse struct {
	asked  bool // a ping is not answered yet
	silent int  // ticks since it was sent
}

// Bounds of silence.
const (
	pingEvery    = time.Second // a tick
	frozenTicks  = 5           // then a stopped guardian is killed
	hangingTicks = 30          // then any is
)

// tick takes what happened since the last one: whether anything was heard of the
// guardian, and whether there are programs that depend on it. It returns whether
// to send a ping and whether the guardian is of no use any more.
func (p *pulse) tick(heard, needed bool, stopped func() bool) (ping, useless bool) {
	if heard {
		*p = pulse{}
	}
	if !p.asked {
		p.asked = needed
		return needed, false
	}
	p.silent++
	return false, p.silent >= hangingTicks || p.silent >= frozenTicks && stopped()
}
