package sandbox

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// lastSignal is Linux's last real-time signal; those without a name of their
// own have a number.
const lastSignal = 64

// parseSignal reads a signal: SIGUSR1, USR1 or 10, in capitals or not.
func parseSignal(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= lastSignal {
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(text)
	if sig := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); sig != 0 {
		return sig, nil
	}
	return 0, errs.BadParam("signal", "%q is none: give a number from 1 to %d or one of %s", text, lastSignal, strings.Join(signalNames(), ", "))
}

func signalNames() []string {
	var names []string
	for n := 1; n <= lastSignal; n++ {
		if name := unix.SignalName(syscall.Signal(n)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// signalName is the signal's name, or its number.
func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return strconv.Itoa(int(sig))
}
