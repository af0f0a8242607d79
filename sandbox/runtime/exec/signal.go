package exec

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalExactly sends a signal to this very process: never to another one that
// got its pid. A process that has ended is no error.
func signalExactly(id identity, sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err == nil {
		defer unix.Close(fd)
	}
	// The descriptor holds the process; only now its birth can be trusted.
	if p, gone := readProc(id.PID); gone != nil || p.identity != id {
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

// freezeAndKill kills all processes that find returns: it first stops them, so
// that they cannot start others meanwhile, looks again, and kills at last.
// It returns those it killed and the first error of a kill.
func freezeAndKill(find func() []identity) ([]identity, error) {
	seen := make(map[identity]bool)
	var all []identity
	for range freezeRounds {
		fresh := 0
		for _, id := range find() {
			if !seen[id] {
				seen[id] = true
				fresh++
				all = append(all, id)
				_ = signalExactly(id, unix.SIGSTOP) // the kill below reports what is not allowed
			}
		}
		if fresh == 0 {
			break
		}
	}
	var first error
	for _, id := range all {
		if err := signalExactly(id, unix.SIGKILL); err != nil && first == nil {
			first = err
		}
	}
	return all, first
}
