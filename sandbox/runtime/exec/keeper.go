package exec

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keptRole is the argument that a keeper adds to its own to start its guardian.
const keptRole = "kept"

// keeperName is what a keeper calls itself, as guardianName.
const keeperName = "glassbox-keeper"

// guardianTime is how long a guardian whose node is gone may take to kill all and
// end.
const guardianTime = 500 * time.Millisecond

// keeper stands between a node and its guardian, and does nothing but wait: when
// one of the two is gone it kills all that is below it, at last the guardian too. What
// a dead guardian held falls to it, so that it matters not whether the node died
// too. All below it is to die, so it needs not know what belongs to what: that is
// why it can be so small that nothing else is likely to end it.
type keeper struct {
	guardian int
	status   unix.WaitStatus // of the guardian, once it was reaped
}

// keep is the main function of the keeper. It returns the exit code when nothing
// is left below it: the guardian's, as a shell would tell it.
func keep() int {
	if err := becomeReaper(keeperName); err != nil {
		fmt.Fprintf(os.Stderr, "the keeper: %v\n", err)
		return 1
	}
	deafen()
	k := &keeper{}
	line, err := k.start()
	if err != nil {
		fmt.Fprintf(os.Stderr, "the guardian could not be started: %v\n", err)
		return 1
	}
	defer unix.Close(line) // open until the end: its end is what the guardian waits for
	debug.FreeOSMemory()
	if err := givePagesBack(); err != nil {
		fmt.Fprintf(os.Stderr, "the keeper stays larger than it need be: %v\n", err)
	}
	k.wait()
	k.killAll()
	return k.code()
}

// start starts the guardian, and hands the socket on. It returns our end of the
// line to the guardian.
func (k *keeper) start() (line int, err error) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(null)
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return -1, err
	}
	argv := append(append([]string(nil), os.Args...), keptRole)
	k.guardian, err = syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(),
		Files: []uintptr{uintptr(null), uintptr(null), 2, guardianSocket, uintptr(ends[0])},
		// As with the keeper itself: a frozen one must wake up to see that we are gone.
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGCONT},
	})
	unix.Close(ends[0])
	unix.Close(guardianSocket) // the node is to see it closed when the guardian is gone
	if err != nil {
		unix.Close(ends[1])
		return -1, err
	}
	return ends[1], nil
}

// wait returns when the guardian has ended. When the node is gone it is given a
// time for that, and is woken for it: were it killed at once, and then this
// process before the programs, they would be left.
func (k *keeper) wait() {
	watched := []unix.PollFd{{Fd: lineAbove}} // no events: its being closed is always told
	const slowly = int(sweepSlowly / time.Millisecond)
	pause := slowly
	if fd, err := unix.PidfdOpen(k.guardian, 0); err == nil {
		defer unix.Close(fd)
		watched, pause = append(watched, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}), -1
	} // else a kernel or a filter without pidfds: look now and then
	for !hasEnded(k.guardian) && watched[0].Revents == 0 {
		_, _ = unix.Poll(watched, pause) // interrupted: look again
	}
	for patience := time.Now().Add(guardianTime); !hasEnded(k.guardian) && time.Now().Before(patience); {
		_ = unix.Kill(k.guardian, unix.SIGCONT) // it is ours to reap, so nobody else has its pid
		_, _ = unix.Poll(watched[1:], slowly)
	}
}

// killAll kills and reaps all that is below this process. Whoever loses its
// parent falls to it, so to have no child is to have nothing left.
func (k *keeper) killAll() {
	for pace := sweepSoon; k.reap(); pace = min(pace*3/2, sweepSlowly) {
		var failure error
		victims := freezeAndKill(func() []victim {
			t, err := readBelow(os.Getpid())
			failure = err
			return below(os.Getpid(), t)
		})
		for _, v := range victims {
			if v.err != nil {
				failure = fmt.Errorf("%v cannot be killed: %w: kill it as root", v.proc, v.err)
			}
		}
		if failure != nil && pace == sweepSlowly {
			fmt.Fprintln(os.Stderr, failure)
		}
		time.Sleep(pace)
	}
}

// below lists the living descendants of a process.
func below(pid int, t table) []victim {
	children := t.children()
	var all []victim
	for _, child := range children[pid] {
		all = append(all, living("a guardian that is gone", lineage(child, children))...)
	}
	return all
}

// reap takes the ended children away; false when there are no children at all.
func (k *keeper) reap() (left bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return false
		case pid == 0:
			return true
		case pid == k.guardian:
			k.status = status
		}
	}
}

// code is the guardian's exit code, or what a shell makes of the signal that
// killed it.
func (k *keeper) code() int {
	if k.status.Signaled() {
		return 128 + int(k.status.Signal())
	}
	return k.status.ExitStatus()
}
