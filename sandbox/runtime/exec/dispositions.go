package exec

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct of rt_sigaction(2) on 64-bit Linux.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// Of signal(7): the numbers in use, and the disposition "ignore".
const (
	lastSignal = 64
	ignored    = 1 // SIG_IGN
)

// heedSignals gives every signal that this process was told to ignore its
// default meaning again. What is ignored stays so across exec, and a program is
// to begin as it would by itself, whatever started the node: nohup ignores
// SIGHUP, make the two that libc keeps to itself.
func heedSignals() error {
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		var now sigaction
		if errno := rtSigaction(sig, nil, &now); errno != 0 || now.handler != ignored {
			continue // SIGKILL and SIGSTOP cannot be asked for
		}
		if errno := rtSigaction(sig, &sigaction{}, nil); errno != 0 {
			return fmt.Errorf("signal %d: %w", sig, os.NewSyscallError("rt_sigaction", errno))
		}
	}
	return nil
}

func rtSigaction(sig uintptr, set, old *sigaction) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)),
		unsafe.Sizeof(sigaction{}.mask), 0, 0)
	return errno
}
