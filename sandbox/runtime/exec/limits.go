package exec

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// limits are those that the node itself keeps: how much a program prints and
// how long it runs. Whoever crosses one is killed with its tree.
type limits struct {
	output  int64         // bytes; 0: any
	time    time.Duration // 0: any
	seen    atomic.Int64  // bytes printed
	timer   atomic.Pointer[time.Timer]
	crossed atomic.Pointer[crossing] // nil: none
}

// crossing is the end of a program that crossed a limit.
type crossing struct {
	cause  memdb.ExitCause
	detail string
}

func limitsOf(l *sandbox.Limits) limits {
	if l == nil {
		return limits{}
	}
	return limits{output: int64(l.OutputMB) << 20, time: time.Duration(l.TimeS) * time.Second}
}

// stop ends the watch of the time.
func (l *limits) stop() {
	if timer := l.timer.Load(); timer != nil {
		timer.Stop()
	}
}

// limitTime begins to watch the time.
func (p *Process) limitTime() {
	if p.limits.time > 0 {
		p.limits.timer.Store(time.AfterFunc(p.limits.time, func() {
			p.cross(memdb.CauseTimeout, "it ran for %v, its limit time_s", p.limits.time)
		}))
	}
}

// printed counts output.
func (p *Process) printed(n int) {
	if seen := p.limits.seen.Add(int64(n)); p.limits.output > 0 && seen > p.limits.output {
		p.cross(memdb.CauseOutputLimit, "it printed more than %d MiB, its limit output_mb", p.limits.output>>20)
	}
}

// cross kills the tree for a limit, once, unless it is being killed already.
func (p *Process) cross(cause memdb.ExitCause, format string, args ...any) {
	if p.killed.Load() || !p.limits.crossed.CompareAndSwap(nil, &crossing{cause, fmt.Sprintf(format, args...)}) {
		return
	}
	// A link that fails is lost: then all its processes are killed anyway.
	_ = p.link.send(message{Op: opKill, ID: p.id})
}
