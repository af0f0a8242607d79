package exec

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// endTime is how long a guardian may take to kill everything when it is told to
// end. A frozen one is killed then, and its programs are swept by the node.
const endTime = 10 * time.Second

// errLost says that a program does not run because its guardian was lost:
// nothing of it is left, another guardian can be asked.
var errLost = errors.New("the guardian was lost")

// keeperTime is how long a keeper may take to kill what its guardian held. Then
// the node does it.
const keeperTime = 2 * time.Second

// link is the node's side of one guardian and its keeper, from their start to
// their end.
type link struct {
	keeper *child
	conn   *conn
	brand  brand // what its programs' brands are below; zero: they have none
	log    *slog.Logger
	heard  atomic.Bool   // of the guardian, since the last tick
	lost   chan struct{} // closed when the socket is: no more answers
	tasks  sync.WaitGroup
	seen   survey

	mu      sync.Mutex
	guard   identity            // told by the guardian; zero until then
	procs   map[string]*Process // started or being started
	members []identity          // told by the guardian: not to be found otherwise
	fate    string              // what happened to the guardian, for the exits of its programs
	over    bool                // no more starts
}

// startGuardian starts a guardian. The caller must call serve and bury on the
// link.
func startGuardian(cfg Config, log *slog.Logger) (*link, error) {
	path, argv, err := guardianCommand(cfg.Command)
	if err != nil {
		return nil, err
	}
	// From now on what the guardian held falls to us should it die.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become a subreaper: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "node"), os.NewFile(uintptr(pair[1]), "guardian")
	defer theirs.Close()
	c, err := newConn(ours)
	if err != nil {
		return nil, err
	}
	keeper, err := spawn(path, argv, theirs)
	if err != nil {
		c.unix.Close()
		return nil, err
	}
	l := &link{
		keeper: keeper, conn: c, brand: newBrand(cfg.Node), log: log.With("keeper", keeper.process.Pid),
		lost: make(chan struct{}), procs: make(map[string]*Process), fate: "its guardian died",
	}
	if l.brand == unbranded {
		l.log.Warn("the limit RLIMIT_RTTIME leaves no room to brand programs: a daemon without its environment may outlive a guardian that is killed")
	}
	l.tasks.Go(func() { l.pass(keeper.said) })
	return l, nil
}

// pass logs what the guardian prints.
func (l *link) pass(said *os.File) {
	defer said.Close()
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		l.log.Warn("guardian says", "line", lines.Text())
	}
	_, _ = io.Copy(io.Discard, said) // after a line too long to log
}

// serve works until the guardian ends, which it does when ctx ends. The caller
// must then call bury.
func (l *link) serve(ctx context.Context) {
	l.tasks.Go(func() { l.watch(ctx) })
	l.receive()
	close(l.lost)
}

// watch ends the guardian when ctx ends, and kills it when it is frozen.
func (l *link) watch(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for p := (pulse{}); ; {
		select {
		case <-ctx.Done():
			l.end()
			return
		case <-l.lost:
			return
		case <-ticker.C:
			ping, useless := p.tick(l.heard.Swap(false), l.needed(), l.stopped)
			if useless {
				l.condemn(p.silent)
				return
			}
			if ping { // not here: the socket of a frozen guardian may be full
				l.tasks.Go(func() { _ = l.send(message{Op: opPing}) })
			}
		}
	}
}

// needed reports whether there are programs: without any the guardian may be as
// silent as it likes.
func (l *link) needed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.procs) > 0
}

// self returns which process the guardian is; false until it has told.
func (l *link) self() (identity, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.guard, l.guard != identity{}
}

// stopped reports whether the guardian is stopped.
func (l *link) stopped() bool {
	self, ok := l.self()
	if !ok {
		return false
	}
	p, err := readProc(self.PID)
	return err == nil && p.identity == self && p.stopped
}

// kill kills the guardian, upon which the keeper kills all that it held. One that
// has not told yet which process it is ends with its keeper.
func (l *link) kill() {
	if !l.killGuardian() {
		_ = l.keeper.process.Kill()
	}
}

// killGuardian kills the guardian if it is known.
func (l *link) killGuardian() bool {
	self, ok := l.self()
	if ok {
		_ = signalExactly(self, syscall.SIGKILL) // what is not allowed shows when it does not end
	}
	return ok
}

// condemn kills a guardian that is of no use; what it held is swept then.
func (l *link) condemn(ticks int) {
	l.log.Error("the guardian does not answer and is killed", "seconds", ticks, "stopped", l.stopped())
	l.mu.Lock()
	l.fate = "its guardian did not answer any more and was killed"
	l.mu.Unlock()
	l.kill()
}

// bury returns when nothing is left of the guardian and its programs. Those that
// ended with it unasked are reported as lost.
func (l *link) bury(unasked bool) {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	// Whatever closed the socket. What it held falls to its keeper, and what is
	// left then to us.
	l.killGuardian()
	l.keeper.end(keeperTime)
	l.conn.unix.Close()
	l.sweep(unasked)
	l.tasks.Wait()
}

// end closes our half of the socket: the guardian kills everything, reports it
// and exits. A frozen one is killed.
func (l *link) end() {
	_ = l.conn.unix.CloseWrite()
	timer := time.NewTimer(endTime)
	defer timer.Stop()
	select {
	case <-l.lost:
	case <-timer.C:
		l.log.Error("the guardian does not end and is killed", "after", endTime)
		l.kill()
	}
}

// receive handles what the guardian says until it says no more.
func (l *link) receive() {
	for {
		m, fds, err := l.conn.recv()
		if err != nil {
			return
		}
		closeAll(fds)
		l.heard.Store(true)
		l.handle(m)
	}
}

func (l *link) handle(m message) {
	l.mu.Lock()
	p := l.procs[m.ID]
	switch m.Op {
	case opHello:
		l.guard = identity{PID: m.OSPID, Birth: m.Birth}
	case opMembers:
		l.members = m.Members
	case opExited, opStartFailed:
		delete(l.procs, m.ID)
	case opStarted:
		if p != nil {
			p.root, p.brand, p.payload = identity{PID: m.OSPID, Birth: m.Birth}, m.Brand, m.Payload
		}
	}
	l.mu.Unlock()
	if p == nil {
		return
	}
	switch m.Op {
	case opStarted:
		p.limitTime()
		p.started <- nil
	case opStartFailed:
		p.started <- refusal(m)
		l.tasks.Go(func() { p.finish(memdb.Exit{Cause: memdb.CauseStartFailed, Detail: m.Error}) })
	case opExited:
		l.tasks.Go(func() { p.finish(p.exitOf(m)) })
	case opStuck:
		l.log.Error("a program was killed and does not end", "pid", m.ID, "left", m.Error)
		l.tasks.Go(func() { p.finish(stuckExit(m)) })
	}
}

// refusal turns a start that failed into an error.
func refusal(m message) error {
	number := syscall.Errno(m.Code)
	if raise := scarcity(number); raise != "" {
		return errs.New(errs.Internal, "the system has no room for another program now: %s: %s", m.Error, raise)
	}
	switch number {
	case syscall.ENOEXEC:
		return errs.New(errs.BadSpec, "%s: it is no program of this machine, and a script needs a #! line", m.Error)
	case syscall.ENOENT: // the file itself was there
		return errs.New(errs.BadSpec, "%s: the interpreter or loader it asks for does not exist", m.Error)
	default:
		return errs.New(errs.BadSpec, "%s", m.Error)
	}
}

// send sends a message. A guardian that takes none is of no use: it is killed,
// and with it all its programs. One that is behind is waited for, until watch
// finds it frozen.
func (l *link) send(m message, fds ...int) error {
	err := l.conn.send(m, fds...)
	if err != nil && !errors.Is(err, errTooLarge) {
		l.kill()
	}
	return err
}

// start starts a program and waits for the guardian's answer. When ctx ends
// first, it is killed. The error is errLost when another guardian is to be asked.
func (l *link) start(ctx context.Context, task sandbox.Task, m message) (*Process, error) {
	p := newProcess(l, task, m.held)
	theirs, err := p.openPipes(task)
	if err != nil {
		return nil, fault(errs.Internal, err, "pipes for %s could not be made", m.ID)
	}
	if err := l.add(p); err != nil {
		closeAll(theirs)
		p.closePipes()
		return nil, err
	}
	p.capture(task)
	m.Brand = l.brand
	err = l.send(m, theirs...)
	closeAll(theirs) // or the output would never end
	if errors.Is(err, errTooLarge) {
		l.withdraw(p)
		return nil, errs.Wrap(errs.BadSpec, err, "program %q has too many arguments or too large an environment", m.Path)
	}
	return l.await(ctx, p, m.Path)
}

// await waits for the answer to a start. A start that could not be sent is
// answered by the guardian's end.
func (l *link) await(ctx context.Context, p *Process, path string) (*Process, error) {
	select {
	case err := <-p.started:
		return p.answered(path, err)
	case <-p.done:
	case <-ctx.Done():
		_ = p.Kill(context.Background())
		return nil, ctx.Err()
	}
	select { // it may have run, and ended, all before we looked
	case err := <-p.started:
		return p.answered(path, err)
	default:
		return nil, errLost
	}
}

// add takes a process in before its start is sent.
func (l *link) add(p *Process) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over:
		return errLost
	case l.procs[p.id] != nil:
		return errs.New(errs.Conflict, "process id %q is in use: every start needs a new one", p.id)
	}
	l.procs[p.id] = p
	return nil
}

// withdraw takes a process back whose start was not sent.
func (l *link) withdraw(p *Process) {
	l.mu.Lock()
	delete(l.procs, p.id)
	l.mu.Unlock()
	p.closePipes()
	p.readers.Wait()
}
