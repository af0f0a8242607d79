package exec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guardianSocket is the descriptor of the guardian's end of the socket.
const guardianSocket = 3

// Times of the guardian.
const (
	sweepSoon   = 2 * time.Millisecond   // between two looks at what is being killed
	sweepSlowly = 100 * time.Millisecond // when it does not end
	lookAround  = time.Second            // between two looks at trees that live
	strayGrace  = 20 * time.Millisecond  // an orphan that is just starting a program has no environment to read
	stuckTime   = 30 * time.Second       // after which a tree that was killed and lives is told to be stuck
	strayBlocks = time.Second            // how long a stray that does not die delays the report of an end
)

// GuardianMain is the main function of the guardian. It returns the exit code
// when its socket, descriptor 3, was closed and nothing below it is left. It
// must be called from the main goroutine before anything else.
func GuardianMain() int {
	// Every program dies with the thread that started it: so one that stays.
	runtime.LockOSThread()
	debug.SetGCPercent(25) // it has little to do, and is to stay small
	c, err := newConn(os.NewFile(guardianSocket, "the guardian's socket"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "the guardian is started by a node, not by hand: descriptor %d: %v\n", guardianSocket, err)
		return 2
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintf(os.Stderr, "the guardian could not become a subreaper: %v\n", err)
		return 1
	}
	// A program that becomes root while the guardian is not could not be killed.
	// All programs inherit this: it is of the thread that starts them.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Fprintf(os.Stderr, "programs may gain privileges, and then cannot be killed: %v\n", err)
	}
	if err := nameGuardian(); err != nil {
		fmt.Fprintf(os.Stderr, "the guardian cannot be told by its name: %v\n", err)
	}
	// What the node was itself started with must not reach the programs.
	_ = unix.CloseRange(guardianSocket, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err := heedSignals(); err != nil {
		fmt.Fprintf(os.Stderr, "programs begin with a signal ignored: %v\n", err)
	}
	if err := givePagesBack(); err != nil {
		fmt.Fprintf(os.Stderr, "the guardian stays larger than it need be: %v\n", err)
	}
	newGuardian(c).loop()
	return 0
}

// guardian is the parent of all programs. Only its loop touches it, on one
// thread.
type guardian struct {
	node     *conn
	packets  chan packet
	children chan os.Signal
	trees    map[string]*guarded
	forest   *forest
	strays   map[identity]time.Time // when first seen
	pace     time.Duration          // to the next sweep
	ending   bool                   // the node is gone
	swept    time.Time              // when the last sweep began
	told     []identity             // the elusive members last told, to tell only changes
	killed   map[identity]bool      // and not gone yet
}

// packet is a message with what came along.
type packet struct {
	message
	fds []int
}

// guarded is one tree.
type guarded struct {
	id        string
	root      identity
	brand     brand
	exited    bool      // the root is a zombie, not reaped: it holds its pid
	dying     bool      // to be killed as a whole
	since     time.Time // when it was first seen dying
	stuck     bool      // told to be
	clean     int       // looks in a row that saw nothing of it
	leftovers int       // killed after the root had ended
}

func newGuardian(c *conn) *guardian {
	g := &guardian{
		node: c, packets: make(chan packet), children: make(chan os.Signal, 1),
		trees: make(map[string]*guarded), strays: make(map[identity]time.Time),
		killed: make(map[identity]bool),
	}
	g.forest = newForest(os.Getpid(), g.shown)
	signal.Notify(g.children, unix.SIGCHLD)
	// It ends with its node and with nothing else. A handler, and not ignoring,
	// because what is ignored stays so in the programs.
	deaf := make(chan os.Signal, 1)
	signal.Notify(deaf, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2)
	return g
}

// receive passes on what the node says until its end is closed.
func (g *guardian) receive() {
	defer close(g.packets)
	for {
		m, fds, err := g.node.recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintf(os.Stderr, "the node's socket failed, all programs are killed: %v\n", err)
			}
			return
		}
		g.packets <- packet{m, fds}
	}
}

// loop works until the node is gone and nothing is left.
func (g *guardian) loop() {
	go g.receive()
	timer := time.NewTimer(lookAround)
	packets := g.packets
	for {
		if g.ending && len(g.trees) == 0 && childless() {
			return
		}
		select {
		case p, open := <-packets:
			if !open {
				packets = nil
				g.end()
			} else {
				g.handle(p)
			}
		case <-g.children:
		case <-timer.C:
			g.sweep()
		}
		g.notice()
		if g.urgent() {
			g.sweep()
		}
		timer.Reset(g.wait())
	}
}

// end begins to kill everything.
func (g *guardian) end() {
	g.ending = true
	for _, t := range g.trees {
		t.dying = true
	}
	g.sweep()
}

func (g *guardian) handle(p packet) {
	switch p.Op {
	case opStart:
		g.start(p)
	case opSignal:
		if t := g.trees[p.ID]; t != nil && !t.exited {
			g.complain(signalExactly(t.root, syscall.Signal(p.Signal)))
		}
	case opKill:
		if t := g.trees[p.ID]; t != nil {
			t.dying = true
			g.pace = 0
		}
	case opPing:
		g.tell(message{Op: opPong})
	default:
		closeAll(p.fds)
	}
}

// stdin is what the program is to read: the third file that came along, or
// nothing. It becomes one of the packet's descriptors.
func (p *packet) stdin() (int, error) {
	switch len(p.fds) {
	case 2:
		null, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return 0, fmt.Errorf("open %s: %w", os.DevNull, err)
		}
		p.fds = append(p.fds, null)
		return null, nil
	case 3:
		return p.fds[2], nil
	default:
		return 0, fmt.Errorf("%d descriptors instead of 2 or 3 came with the start", len(p.fds))
	}
}

// start forks a program and answers.
func (g *guardian) start(p packet) {
	defer func() { closeAll(p.fds) }()
	b := takeBrand(p.Brand) // of this process too, until the next one
	root, err := g.fork(&p)
	if err != nil {
		var number syscall.Errno
		errors.As(err, &number)
		g.tell(message{Op: opStartFailed, ID: p.ID, Error: err.Error(), Code: int(number)})
		return
	}
	g.trees[p.ID] = &guarded{id: p.ID, root: root, brand: b, dying: g.ending}
	g.forest.plant(p.ID, root)
	g.tell(message{Op: opStarted, ID: p.ID, OSPID: root.PID, Birth: root.Birth, Brand: b})
}

// shown tells the tree that a process shows to be of: by its brand, or else by
// the mark in its environment, which it could have changed.
func (g *guardian) shown(p proc) string {
	if b := readBrand(p.PID); b != unbranded {
		for _, t := range g.trees {
			if t.brand == b {
				return t.id
			}
		}
	}
	return readMark(p.PID)
}

func (g *guardian) fork(p *packet) (identity, error) {
	stdin, err := p.stdin()
	if err != nil {
		return identity{}, err
	}
	pid, err := syscall.ForkExec(p.Path, unpack(p.Argv), &syscall.ProcAttr{
		Dir: p.Dir, Env: unpack(p.Env),
		Files: []uintptr{uintptr(stdin), uintptr(p.fds[0]), uintptr(p.fds[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return identity{}, err
	}
	// It cannot be gone: only we reap it.
	root, err := readProc(pid)
	if err != nil {
		g.complain(err)
		return identity{PID: pid}, nil
	}
	return root.identity, nil
}

// tell answers the node; one that is gone needs no answer.
func (g *guardian) tell(m message) {
	if !g.ending {
		g.complain(g.node.send(m))
		return
	}
	_ = g.node.send(m) // it may have closed only its half, to hear of the ends
}

// complain writes an error where the node logs it.
func (g *guardian) complain(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
