package exec

import (
	"errors"
	"fmt"
	"maps"
	"os"
	osexec "os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// selfTestTime bounds a self-test. What takes longer does not work.
const selfTestTime = 10 * time.Second

// selfTestMark is the variable that a self-test's processes have. A program that
// does not know the shim would run itself, and that again, without end.
const selfTestMark = "GLASSBOX_SELFTEST"

// trials are the outcomes of the self-tests of this process, by the user that
// sandboxes are given: what works does not change while it runs.
var trials = struct {
	sync.Mutex
	done map[int]isolation.Machine
}{done: make(map[int]isolation.Machine)}

// trial runs the self-tests, once.
func trial(user int) isolation.Machine {
	trials.Lock()
	defer trials.Unlock()
	m, done := trials.done[user]
	if !done {
		m = selfTest(user)
		trials.done[user] = m
	}
	return m
}

// selfTest finds out what confines programs on this machine, by confining some.
func selfTest(user int) isolation.Machine {
	if os.Getenv(selfTestMark) != "" {
		return isolation.Untried("this is itself a self-test")
	}
	m := isolation.Machine{Root: os.Geteuid() == 0, Faults: map[isolation.Primitive]string{}}
	if !m.Root {
		m.Faults[isolation.UID] = "the node does not run as root: its programs have its own user"
		user = 0
	}
	sweepSelfTests()
	work, err := os.MkdirTemp("", selfTestFolder)
	if err != nil {
		m.Faults[isolation.WorkFolder] = err.Error()
		work = ""
	}
	defer os.RemoveAll(work)
	if work != "" {
		_ = os.Chmod(work, 0o777) // for a moment, and for whatever user the tests run as
	}
	filter, filterErr := isolation.Filter(sandbox.NetworkHost)
	plan := shimPlan{Probe: true, Filter: filter, Work: work}
	var inside, outside, noNet map[string]string
	var insideErr, outsideErr, noNetErr error
	system := isolation.FindSystem()
	bwrap := func(network string, old bool) []string {
		path, err := osexec.LookPath("bwrap")
		if err != nil {
			return nil
		}
		p := isolation.Plan{Network: network}
		return append([]string{path}, isolation.Bubblewrap(system, p, 1, isolation.Hidden{}, old)...)
	}
	var tests sync.WaitGroup
	tests.Go(func() {
		outside, outsideErr = try(confinement{User: user, Shim: plan})
		if outsideErr != nil && user != 0 {
			m.Faults[isolation.UID] = outsideErr.Error()
			outside, outsideErr = try(confinement{Shim: plan})
		}
	})
	tests.Go(func() {
		args := bwrap(sandbox.NetworkHost, false)
		if args == nil {
			insideErr = errors.New("bwrap is not in the node's PATH: install bubblewrap")
			return
		}
		inside, insideErr = try(confinement{User: user, Bwrap: args, Shim: plan})
		if insideErr != nil {
			inside, err = try(confinement{User: user, Bwrap: bwrap(sandbox.NetworkHost, true), Shim: plan})
			if m.OldBubblewrap = err == nil; m.OldBubblewrap {
				insideErr = nil
			}
		}
	})
	tests.Go(func() {
		if args := bwrap(sandbox.NetworkNone, true); args != nil {
			noNet, noNetErr = try(confinement{User: user, Bwrap: args, Shim: plan})
		} else {
			noNetErr = errors.New("bubblewrap is missing")
		}
	})
	tests.Wait()
	_ = noNet
	if outsideErr != nil {
		return isolation.Untried(outsideErr.Error())
	}
	for name, why := range outside {
		m.Faults[isolation.Primitive(name)] = why
	}
	if filterErr != nil {
		m.Faults[isolation.Seccomp] = filterErr.Error()
	}
	if insideErr == nil && inside[string(isolation.Seccomp)] != "" {
		insideErr = errors.New("seccomp inside: " + inside[string(isolation.Seccomp)])
	}
	if insideErr != nil {
		m.Faults[isolation.Namespaces] = insideErr.Error()
	}
	if noNetErr != nil {
		m.Faults[isolation.Network] = noNetErr.Error()
	}
	return m
}

// selfTestFolder is where self-tests try to write.
const selfTestFolder = "glassbox-selftest-*"

// sweepSelfTests removes the folders of nodes that were killed while they tested.
func sweepSelfTests() {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), selfTestFolder)) // the pattern is well formed
	for _, folder := range old {
		if info, err := os.Stat(folder); err == nil && time.Since(info.ModTime()) > 2*selfTestTime {
			_ = os.RemoveAll(folder) // of another user's it cannot
		}
	}
}

// try confines the shim itself, which reports what holds it.
func try(c confinement) (map[string]string, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	f := newForker(rules{})
	defer f.close()
	fd := int(null.Fd())
	l, err := c.launch(selfTestMark+"=1", [3]int{fd, fd, fd}, f.do)
	if err != nil {
		return nil, err
	}
	defer l.close()
	late := time.AfterFunc(selfTestTime, func() { _ = unix.Kill(l.pid, unix.SIGKILL) })
	defer func() {
		// Late ones die by the timer; bubblewrap takes those inside with it.
		var status unix.WaitStatus
		for {
			if _, err := unix.Wait4(l.pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		late.Stop()
	}()
	if _, err := l.greeted(); err != nil {
		if text := l.complaint(); text != "" {
			return nil, errors.New(text)
		}
		return nil, fmt.Errorf("the self-test ended before it began: %w", err)
	}
	if err := l.brief(c.Shim); err != nil {
		return nil, err
	}
	report, err := l.outcome()
	switch {
	case err != nil:
		return nil, err
	case report == nil:
		return nil, errors.New("the self-test said nothing")
	case report.Error != "":
		return nil, errors.New(report.Error)
	}
	return report.Faults, nil
}

// probe takes on each primitive and tries to do what it forbids. It changes this
// process for good.
func (p shimPlan) probe() shimReport {
	faults := make(map[string]string)
	note := func(primitive isolation.Primitive, err error) {
		if err != nil {
			faults[string(primitive)] = err.Error()
		}
	}
	note(isolation.NoNewPrivs, restrict(rules{}))
	abi, err := landlockABI()
	if err != nil {
		err = fmt.Errorf("the kernel has no landlock: %w", err)
	}
	note(isolation.Landlock, err)
	if err == nil {
		note(isolation.Landlock, p.probeFiles())
	}
	note(isolation.OwnPorts, probePorts(abi))
	note(isolation.Scope, probeScope(abi))
	note(isolation.Seccomp, p.probeFilter())
	return shimReport{Faults: faults}
}

func (p shimPlan) probeFiles() error {
	file := filepath.Join(p.Work, "probe")
	if p.Work == "" {
		return nil // nothing can be written in the first place
	}
	if err := restrict(rules{Files: []fileRule{{Path: "/", Rights: mayRun}}}); err != nil {
		return err
	}
	return refused(os.WriteFile(file, nil, 0o600), "write to a file")
}

func probePorts(abi int) error {
	if abi < abiPorts {
		return fmt.Errorf("landlock has no rules about ports before its interface %d (Linux 6.7), and this one is %d", abiPorts, abi)
	}
	const last = 1<<16 - 1 // no privilege is needed to bind it: that would refuse as landlock does
	if err := restrict(rules{Ports: []int{last}}); err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	at := &unix.SockaddrInet4{Port: last, Addr: [4]byte{127, 0, 0, 1}}
	if err := refused(unix.Connect(s, at), "connect"); err != nil {
		return err
	}
	return refused(unix.Bind(s, at), "bind a port of the node")
}

func probeScope(abi int) error {
	if abi < abiScope {
		return fmt.Errorf("landlock has no scope before its interface %d (Linux 6.12), and this one is %d", abiScope, abi)
	}
	return restrict(rules{Scope: true})
}

func (p shimPlan) probeFilter() error {
	if err := loadFilter(p.Filter); err != nil {
		return err
	}
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	if err := refused(err, "use keys"); err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(s)
	}
	return refused(err, "open a socket to the host of a virtual machine")
}

// refused says that something was possible which must not be.
func refused(err error, what string) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil
	}
	return fmt.Errorf("it was still possible to %s (%v)", what, err)
}

// machine joins the faults of the process's trial with those of this runtime.
func machine(m isolation.Machine, faults map[isolation.Primitive]string) isolation.Machine {
	m.Faults = maps.Clone(m.Faults)
	for p, why := range faults {
		m.Faults[p] = why
	}
	return m
}
