package exec

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// Process is one started program and its tree. It implements sandbox.Process.
type Process struct {
	link    *link
	id      string
	killed  atomic.Bool // its end was asked for
	started chan error  // takes the guardian's one answer to the start
	over    atomic.Bool // its end is being told
	done    chan struct{}
	outputs [2]*os.File
	stdin   *os.File // nil: it has none
	readers sync.WaitGroup
	limits  limits

	held    *holdings // given back at its end
	payload int       // the program itself where root is bubblewrap; set before started

	root  identity   // set before started, constant after
	brand brand      // likewise
	exit  memdb.Exit // set before done
}

func newProcess(l *link, task sandbox.Task, held *holdings) *Process {
	return &Process{
		link: l, id: task.PID, held: held, limits: limitsOf(task.Limits),
		started: make(chan error, 1), done: make(chan struct{}),
	}
}

// OSPID implements sandbox.Process.
func (p *Process) OSPID() int {
	if p.payload != 0 {
		return p.payload
	}
	return p.root.PID
}

// Done implements sandbox.Process.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit implements sandbox.Process.
func (p *Process) Exit() memdb.Exit { return p.exit }

// Isolation implements sandbox.Process.
func (p *Process) Isolation() memdb.Isolation { return p.held.isolation }

// Stdin implements sandbox.Process.
func (p *Process) Stdin() sandbox.Stdin {
	if p.stdin == nil {
		return nil // and no nil *os.File, which is none
	}
	return p.stdin
}

// Signal implements sandbox.Process. Kinds: not_found when the program has
// ended, node_unavailable when its guardian was just lost.
func (p *Process) Signal(sig syscall.Signal) error {
	select {
	case <-p.done:
		return errs.New(errs.NotFound, "process %s has ended", p.id)
	default:
	}
	if err := p.link.send(message{Op: opSignal, ID: p.id, Signal: int(sig)}); err != nil {
		return errs.Wrap(errs.NodeUnavailable, err, "process %s could not be signalled", p.id)
	}
	return nil
}

// Stop implements sandbox.Process.
func (p *Process) Stop(grace time.Duration) {
	if grace > 0 && p.terminate() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.done:
			return
		case <-timer.C:
		}
	}
	_ = p.Kill(context.Background()) // it has no other error than its context's
}

// terminate asks the program to end; false when it cannot be asked.
func (p *Process) terminate() bool {
	p.killed.Store(true)
	return p.Signal(unix.SIGTERM) == nil
}

// Kill implements sandbox.Process. Its only error is ctx's.
func (p *Process) Kill(ctx context.Context) error {
	p.killed.Store(true)
	// A link that fails is lost: then all its processes are killed anyway.
	_ = p.link.send(message{Op: opKill, ID: p.id})
	p.held.kill()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answered makes the guardian's answer that of a start.
func (p *Process) answered(path string, err error) (*Process, error) {
	if err == nil {
		return p, nil
	}
	<-p.done
	return nil, errs.Wrap(errs.KindOf(err), err, "program %q could not be started", path)
}

// openPipes makes the pipes and returns the ends for the program.
func (p *Process) openPipes(task sandbox.Task) ([]int, error) {
	var theirs []int
	open := func(ours **os.File, make func() (*os.File, int, error)) error {
		file, fd, err := make()
		if err != nil {
			closeAll(theirs)
			p.closePipes()
			return err
		}
		*ours = file
		theirs = append(theirs, fd)
		return nil
	}
	for i := range p.outputs {
		if err := open(&p.outputs[i], openOutput); err != nil {
			return nil, err
		}
	}
	if task.Stdout != nil {
		if err := open(&p.stdin, openInput); err != nil {
			return nil, err
		}
	}
	return theirs, nil
}

func (p *Process) closePipes() {
	for _, f := range []*os.File{p.outputs[0], p.outputs[1], p.stdin} {
		if f != nil {
			f.Close()
		}
	}
}

// capture starts to read the output.
func (p *Process) capture(task sandbox.Task) {
	for i, stream := range []sandbox.Stream{sandbox.Stdout, sandbox.Stderr} {
		p.readers.Go(func() {
			defer p.outputs[i].Close()
			out := metered{p.outputs[i], p}
			if stream == sandbox.Stdout && task.Stdout != nil {
				task.Stdout(out)
				_, _ = io.Copy(io.Discard, out) // or the program would block
				return
			}
			capture(out, task.Log, stream, p.id)
		})
	}
}

// finish waits for the rest of the output and makes the end known, once.
func (p *Process) finish(exit memdb.Exit) {
	if p.over.Swap(true) { // it was stuck, and has ended after all
		if exit.Cause != memdb.CauseStuck {
			p.held.release()
		}
		return
	}
	p.limits.stop()
	// All writers are gone. Should one have got away, the wait has an end.
	for _, f := range p.outputs {
		_ = f.SetReadDeadline(time.Now().Add(drainTime))
	}
	p.readers.Wait()
	p.closePipes()
	p.held.end(&exit)
	exit.At = time.Now().UTC().Truncate(time.Microsecond)
	p.exit = exit
	close(p.done)
}

// exitOf turns the guardian's report into an exit.
func (p *Process) exitOf(m message) memdb.Exit {
	exit := memdb.Exit{Cause: memdb.CauseExited, Code: m.Code}
	if m.Signal != 0 {
		exit.Cause = memdb.CauseSignaled
		exit.Signal = unix.SignalName(syscall.Signal(m.Signal))
	}
	limit := p.limits.crossed.Load()
	if limit != nil && syscall.Signal(m.Signal) == unix.SIGKILL { // or it ended by itself just before
		exit.Cause, exit.Detail = limit.cause, limit.detail
	} else if p.killed.Load() {
		exit.Cause = memdb.CauseKilled
	} else if m.Leftovers > 0 {
		exit.Detail = fmt.Sprintf("it left %d processes behind, which were killed", m.Leftovers)
	}
	return exit
}
