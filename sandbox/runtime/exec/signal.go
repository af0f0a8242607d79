package exec

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalExactly sends a signal to this very process: never to another one that
// got its pid. A process that has ended is no error; not to know is one.
func signalExactly(id identity, sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err == nil {
		defer unix.Close(fd)
	}
	// The descriptor holds the process; only now its birth can be trusted.
	p, gone := readProc(id.PID)
	if scarcity(gone) != "" {
		return gone
	}
	if gone != nil || p.identity != id {
		return nil
	}
	if err == nil {
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	} else { // a kernel or a filter without pidfds: the gap is a few microseconds
		err = unix.Kill(id.PID, sig)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// freezeRounds is how often new processes are looked for before all are killed:
// each round stops those that the ones before had still started.
const freezeRounds = 5

// victim is a process that is to be killed.
type victim struct {
	proc
	tree string // whose it is
	err  error  // why it could not be
}

// freezeAndKill kills all processes that find returns: it first stops them, so
// that they cannot start others meanwhile, looks again, and kills at last. It
// returns them all.
func freezeAndKill(find func() []victim) []victim {
	seen := make(map[identity]bool)
	var all []victim
	for range freezeRounds {
		fresh := 0
		for _, v := range find() {
			if !seen[v.identity] {
				seen[v.identity] = true
				fresh++
				all = append(all, v)
				_ = signalExactly(v.identity, unix.SIGSTOP) // the kill below reports what is not allowed
			}
		}
		if fresh == 0 {
			break
		}
	}
	for i := range all {
		all[i].err = signalExactly(all[i].identity, unix.SIGKILL)
	}
	return all
}
