package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// startConfined starts a program through the shim. Unlike a bare fork it takes
// some milliseconds and several exchanges, so it is waited for elsewhere.
func (g *guardian) startConfined(p packet) {
	b := takeBrand(p.Brand)
	l, err := g.launch(&p)
	if err != nil {
		closeAll(p.fds)
		var number syscall.Errno
		errors.As(err, &number)
		g.tell(message{Op: opStartFailed, ID: p.ID, Error: err.Error(), Code: int(number)})
		return
	}
	closeAll(p.fds)
	root := identity{PID: l.pid}
	if found, err := readProc(l.pid); err == nil { // it cannot be gone: only we reap it
		root = found.identity
	}
	t := &guarded{id: p.ID, root: root, brand: b, dying: g.ending, starting: true, group: p.Confine.anyGroup(), user: p.Confine.User}
	g.trees[p.ID] = t
	g.forest.plant(p.ID, root)
	plan := p.Confine.Shim
	plan.Argv, plan.Env = p.Argv, p.Env
	go g.escort(t, l, plan, *p.Confine)
}

// launch forks bubblewrap or the shim.
func (g *guardian) launch(p *packet) (*launched, error) {
	stdin, err := p.stdin()
	if err != nil {
		return nil, err
	}
	stdio := [3]int{stdin, p.fds[0], p.fds[1]}
	fork := func(job func()) error { job(); return nil }
	if common := (rules{Ports: p.Confine.Closed, Scope: p.Confine.Scope, Files: p.Confine.Files}); !common.empty() {
		fork = g.forker(common).do
	}
	return p.Confine.launch(markName+"="+p.ID, stdio, fork)
}

// forker returns the thread that is under these rules. There are few: one for
// each level, and new ones when the node's ports change.
func (g *guardian) forker(r rules) *forker {
	key, _ := json.Marshal(r) // numbers and strings marshal
	f := g.forkers[string(key)]
	if f == nil {
		if len(r.Files) > 0 {
			binary, err := syscall.Open("/proc/self/exe", unix.O_PATH|syscall.O_CLOEXEC, 0)
			if err == nil {
				defer syscall.Close(binary)
				r.FD = binary
			}
		}
		f = newForker(r)
		g.forkers[string(key)] = f
	}
	return f
}

// escort brings a shim to its program. It runs beside the loop and changes
// nothing of the guardian's but through it.
func (g *guardian) escort(t *guarded, l *launched, plan shimPlan, c confinement) {
	defer l.close()
	groups, warm := c.Groups, make(chan struct{})
	go func() { c.warm(l.pid); close(warm) }()
	plan.Wait = len(groups) > 0
	pid, err := l.meet(plan)
	if err != nil {
		<-warm
		g.later <- func() { g.failed(t, err.Error(), 0) }
		return
	}
	payload, fd := holdProcess(pid)
	<-warm // or what it moves could be the program, out of its own cgroups again
	if plan.Wait {
		if err = enroll(pid, groups); err == nil {
			err = l.release()
		}
	}
	var report *shimReport
	if err == nil {
		report, err = l.outcome()
	}
	switch {
	case err != nil:
		g.later <- func() { g.failed(t, err.Error(), 0) }
	case report != nil:
		g.later <- func() { g.failed(t, report.Error, report.Code) }
	default:
		g.later <- func() { g.runs(t, payload, fd) }
		return
	}
	unix.Close(fd)
}

// meet gives the shim its plan, and returns its pid when it has come so far.
func (l *launched) meet(plan shimPlan) (int, error) {
	pid, err := 0, l.brief(plan)
	if err == nil {
		pid, err = l.greeted()
	}
	if err == nil {
		return pid, nil
	}
	text := l.complaint()
	if text == "" {
		text = "it ended before the program: " + err.Error()
	}
	return 0, fmt.Errorf("the isolation could not be set up: %s%s", text, hint(text))
}

// hint says what to do about what bubblewrap complains of.
func hint(complaint string) string {
	switch {
	case strings.Contains(complaint, "Permission denied"):
		return ": a node that runs as root gives each sandbox a user of its own: let that reach the mount's source (chmod o+rx each folder above it)"
	case strings.Contains(complaint, "Can't mkdir"):
		return ": a mount's target in a folder of the system must be there already: choose one elsewhere, such as /data"
	}
	return ""
}

// holdProcess returns who has a pid, and a descriptor that tells how it ended; -1
// is none. The process is waiting for us, so it is the one that is meant.
func holdProcess(pid int) (proc, int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		fd = -1
	}
	p, err := readProc(pid)
	if err != nil {
		return proc{identity: identity{PID: pid}}, fd
	}
	return p, fd
}

// runs notes that a tree's program runs. It may have ended already.
func (g *guardian) runs(t *guarded, payload proc, fd int) {
	t.starting, t.payload, t.payloadFD, t.reaper = false, payload.identity, fd, payload.parent
	g.tell(message{Op: opStarted, ID: t.id, OSPID: t.root.PID, Birth: t.root.Birth, Brand: t.brand, Payload: payload.PID})
}

// failed ends a tree whose program could not be started; that is told when
// nothing of it is left.
func (g *guardian) failed(t *guarded, why string, number int) {
	t.starting, t.dying = false, true
	t.failure = &message{Op: opStartFailed, ID: t.id, Error: why, Code: number}
	g.pace = 0
}

// program is the process that is the program itself: what signals are for.
func (t *guarded) program() identity {
	if t.payload.PID != 0 {
		return t.payload
	}
	return t.root
}

// outcome is how the program ended, given how the root did.
//
// Bubblewrap ends as its program did, but turns a signal n into the exit code
// 128+n. The kernel tells of an ended process what it was, from Linux 6.15 on, to
// who holds a descriptor; where it does not, a code of 128+n is taken for the signal
// n that it stands for with every shell, though a program may end with such a code
// by itself.
func (t *guarded) outcome(root unix.WaitStatus) unix.WaitStatus {
	if t.payload.PID == 0 || t.payload == t.root {
		return root
	}
	if status, known := endOf(t.payloadFD); known {
		return status
	}
	return standsFor(root)
}

// standsFor turns an exit code of 128+n into the signal n.
func standsFor(status unix.WaitStatus) unix.WaitStatus {
	const signals = 64
	if code := status.ExitStatus(); status.Exited() && code > 128 && code <= 128+signals {
		return unix.WaitStatus(code - 128)
	}
	return status
}

// infoExit is PIDFD_INFO_EXIT: tell how it ended.
const infoExit = 1 << 3

// endOf asks a descriptor how its process ended.
func endOf(fd int) (unix.WaitStatus, bool) {
	if fd < 0 {
		return 0, false
	}
	info := unix.PidfdInfo{Mask: infoExit}
	if err := unix.IoctlPidfdInfo(fd, &info); err != nil || info.Mask&infoExit == 0 {
		return 0, false
	}
	return unix.WaitStatus(info.Exit_code), true
}
