package exec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors that a keeper and its guardian are started with.
const (
	guardianSocket = 3 // the guardian's end of the socket
	lineAbove      = 4 // a pipe that closes when the process above, node or keeper, is gone
)

// Times of the guardian.
const (
	sweepSoon   = 2 * time.Millisecond   // between two looks at what is being killed
	sweepSlowly = 100 * time.Millisecond // when it does not end
	lookAround  = time.Second            // between two looks at trees that live
	strayGrace  = 20 * time.Millisecond  // an orphan that is just starting a program has no environment to read
	stuckTime   = 30 * time.Second       // after which a tree that was killed and lives is told to be stuck
	strayBlocks = time.Second            // how long a stray that does not die delays the report of an end
)

// GuardianMain is the main function of the guardian, and of the keeper above it,
// which starts it as itself once more. It returns the exit code when its socket,
// descriptor 3, was closed and nothing below it is left. It must be called from
// the main goroutine before anything else. With the argument "confine" after its own
// it is the shim, which becomes a confined program.
func GuardianMain() int {
	if len(os.Args) > 2 && os.Args[2] == confineArgument {
		return confineMain()
	}
	// Every program dies with the thread that started it: so one that stays. What
	// the keeper does to the guardian at its own end is of a thread as well.
	runtime.LockOSThread()
	debug.SetGCPercent(25) // it has little to do, and is to stay small
	if err := plugged(); err != nil {
		fmt.Fprintf(os.Stderr, "the guardian is started by a node, not by hand: %v\n", err)
		return 2
	}
	if os.Args[len(os.Args)-1] != keptRole {
		return keep()
	}
	return guard()
}

// plugged says what is missing of the descriptors that a node starts a guardian
// with.
func plugged() error {
	var kind, above unix.Stat_t
	if err := unix.Fstat(guardianSocket, &kind); err != nil || kind.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("descriptor %d is no socket", guardianSocket)
	}
	if err := unix.Fstat(lineAbove, &above); err != nil || above.Mode&unix.S_IFMT != unix.S_IFIFO {
		return fmt.Errorf("descriptor %d is no pipe", lineAbove)
	}
	return nil
}

// becomeReaper makes this process the one to which all orphans below it fall,
// and gives it its name.
func becomeReaper(name string) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	if err := nameProcess(name); err != nil {
		fmt.Fprintf(os.Stderr, "%s cannot be told by its name: %v\n", name, err)
	}
	// What the node was itself started with must not reach the programs.
	_ = unix.CloseRange(guardianSocket, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	return nil
}

// deafen makes this process end with its node and with nothing else. A handler,
// and not ignoring, because what is ignored stays so in the programs.
func deafen() {
	deaf := make(chan os.Signal, 1)
	signal.Notify(deaf, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2)
}

// guard is the main function of the guardian.
func guard() int {
	c, err := newConn(os.NewFile(guardianSocket, "the guardian's socket"))
	if err == nil {
		err = becomeReaper(guardianName)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "the guardian: %v\n", err)
		return 1
	}
	// A program that becomes root while the guardian is not could not be killed.
	// All programs inherit this: it is of the thread that starts them.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Fprintf(os.Stderr, "programs may gain privileges, and then cannot be killed: %v\n", err)
	}
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
	node      *conn
	packets   chan packet
	children  chan os.Signal
	keeper    chan struct{} // closed when the keeper is gone
	alone     bool          // it is: the node hears no more, as if this were gone too
	later     chan func()   // what was waited for beside the loop, and goes on in it
	forkers   map[string]*forker
	trees     map[string]*guarded
	forest    *forest
	strays    map[identity]time.Time // when first seen
	untold    int                    // strays killed since strayTold
	strayTold time.Time              // when a stray was last told of
	pace      time.Duration          // to the next sweep
	ending    bool                   // the node is gone
	swept     time.Time              // when the last sweep began
	told      []identity             // the elusive members last told, to tell only changes
	killed    map[identity]bool      // and not gone yet
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

	// Of a confined program only. The root may be bubblewrap.
	group     string   // one of its cgroups; "" is none
	user      int      // that it alone and others of its sandbox have; 0 is none
	starting  bool     // the program does not run yet, or that is not known
	payload   identity // the program itself
	payloadFD int      // of the program, -1 is none
	reaper    int      // the program's parent: bubblewrap's first process inside, which may end after the root
	failure   *message // it never ran, and this is to be told
}

func newGuardian(c *conn) *guardian {
	g := &guardian{
		node: c, packets: make(chan packet), children: make(chan os.Signal, 1), keeper: make(chan struct{}),
		trees: make(map[string]*guarded), strays: make(map[identity]time.Time),
		killed: make(map[identity]bool),
		later:  make(chan func()), forkers: make(map[string]*forker),
	}
	g.forest = newForest(os.Getpid(), g.shown)
	signal.Notify(g.children, unix.SIGCHLD)
	deafen()
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

// watchKeeper tells when the keeper is gone.
func (g *guardian) watchKeeper() {
	defer close(g.keeper)
	_ = unix.SetNonblock(lineAbove, true) // no thread of its own for this
	line := os.NewFile(lineAbove, "the line to the keeper")
	defer line.Close()
	_, _ = line.Read(make([]byte, 1)) // nothing is ever written to it
}

// introduce tells the node which process the guardian is: it has started only
// the keeper.
func (g *guardian) introduce() {
	self, err := readProc(os.Getpid())
	g.complain(err)
	g.tell(message{Op: opHello, OSPID: os.Getpid(), Birth: self.Birth})
}

// loop works until the node is gone and nothing is left.
func (g *guardian) loop() {
	g.introduce()
	go g.receive()
	go g.watchKeeper()
	timer := time.NewTimer(lookAround)
	packets, keeper := g.packets, g.keeper
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
		case <-keeper:
			// Without it the next death could leave something. Nothing is reported:
			// the programs are lost, as those of a guardian that was killed.
			keeper, g.alone = nil, true
			g.end()
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

// shown tells the tree that a process shows to be of. A program cannot leave its
// cgroup or its user, but its brand and the mark in its environment it can change:
// those are asked for last.
func (g *guardian) shown(p proc) string {
	if tree := g.grouped(p.PID); tree != "" {
		return tree
	}
	if tree := g.owning(p.PID); tree != "" {
		return tree
	}
	if b := readBrand(p.PID); b != unbranded {
		for _, t := range g.trees {
			if t.brand == b {
				return t.id
			}
		}
	}
	return readMark(p.PID)
}

// grouped is the tree whose cgroup a process is in; "" for none.
func (g *guardian) grouped(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) { // 4:memory:/glassbox-n1-…/n1.…
		_, path, _ := strings.Cut(strings.TrimSpace(line), ":/")
		if t := g.trees[filepath.Base(path)]; t != nil && t.group != "" && filepath.Base(filepath.Dir(t.group)) == filepath.Base(filepath.Dir(path)) {
			return t.id
		}
	}
	return ""
}

// owning is the one tree whose user a process has; "" if there is none, or there are
// several.
func (g *guardian) owning(pid int) string {
	var status unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d", pid), &status) != nil || status.Uid == 0 {
		return ""
	}
	owner := ""
	for _, t := range g.trees {
		if t.user != int(status.Uid) {
			continue
		}
		if owner != "" {
			return ""
		}
		owner = t.id
	}
	return owner
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
	if g.alone {
		return
	}
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
