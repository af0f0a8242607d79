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
	strayBlocks = time.Second            // how long a stray that does not die delays the report of an end
)

// GuardianMain is the main function of the guardian. It returns the exit code
// when its socket, descriptor 3, was closed and nothing below it is left. It
// must be called from the main goroutine before anything else. With the argument
// "confine" after its own it is the shim, which becomes a confined program.
func GuardianMain() int {
	if len(os.Args) > 2 && os.Args[2] == confineArgument {
		return confineMain()
	}
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
	g := newGuardian(c)
	g.loop()
	for _, f := range g.forkers {
		f.close()
	}
	return 0
}

// guardian is the parent of all programs. Only its loop touches it, on one
// thread.
type guardian struct {
	node     *conn
	packets  chan packet
	children chan os.Signal
	later    chan func() // what was waited for beside the loop, and goes on in it
	forkers  map[string]*forker
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
	exited    bool // the root is a zombie, not reaped: it holds its pid
	dying     bool // to be killed as a whole
	clean     int  // looks in a row that saw nothing of it
	leftovers int  // killed after the root had ended

	// Of a confined program only. The root may be bubblewrap.
	starting  bool     // the program does not run yet, or that is not known
	payload   identity // the program itself
	payloadFD int      // of the program, -1 is none
	reaper    int      // the program's parent: bubblewrap's first process inside, which may end after the root
	failure   *message // it never ran, and this is to be told
}

func newGuardian(c *conn) *guardian {
	g := &guardian{
		node: c, packets: make(chan packet), children: make(chan os.Signal, 1),
		trees: make(map[string]*guarded), strays: make(map[identity]time.Time),
		killed: make(map[identity]bool),
		later:  make(chan func()), forkers: make(map[string]*forker),
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
		case next := <-g.later:
			next()
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
		if p.Confine != nil {
			g.startConfined(p)
		} else {
			g.start(p)
		}
	case opSignal:
		if t := g.trees[p.ID]; t != nil && !t.exited {
			g.complain(signalExactly(t.program(), syscall.Signal(p.Signal)))
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

// start forks a program and answers.
func (g *guardian) start(p packet) {
	defer closeAll(p.fds)
	b := takeBrand(p.Brand) // of this process too, until the next one
	root, err := g.fork(p)
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

func (g *guardian) fork(p packet) (identity, error) {
	if len(p.fds) != 2 {
		return identity{}, fmt.Errorf("%d descriptors instead of 2 came with the start", len(p.fds))
	}
	null, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return identity{}, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer syscall.Close(null)
	pid, err := syscall.ForkExec(p.Path, unpack(p.Argv), &syscall.ProcAttr{
		Dir: p.Dir, Env: unpack(p.Env),
		Files: []uintptr{uintptr(null), uintptr(p.fds[0]), uintptr(p.fds[1])},
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
