package exec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// brand tells from which guardian, and from which of its programs, a process
// descends, whatever it did to its environment, its session and its parents. It
// is the hard limit RLIMIT_RTTIME, because a limit
//   - goes over to every child and stays across exec,
//   - can only be lowered without privileges, and of this one nobody thinks,
//   - can be read by everybody, in /proc/PID/limits,
//   - and this one limits nothing: it is for real-time programs that compute for
//     so long without a pause, here at least half an hour, mostly thousands of years.
//
// The upper 32 bits are the guardian's. The lower ones count down with its programs.
// Zero is none.
type brand uint64

const unbranded brand = 0

// family is what all processes of one guardian have in common.
func (b brand) family() brand { return b >> 32 }

// newBrand chooses the brand of a guardian that is started under a hard limit.
// It is lower than the limit, also when that is a brand itself because the node
// is some other node's program; zero when there is no room.
func newBrand(limit uint64) brand {
	const topFamily = 1 << 30
	families := min(limit>>32, topFamily)
	if families < 2 {
		return unbranded
	}
	return brand(1+rand.Uint64N(families-1))<<32 | 1<<32 - 1
}

// brandGuardian gives the guardian, a child that cannot have been reaped, a
// brand of its own before its first program.
func brandGuardian(pid int) (brand, error) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTTIME, &own); err != nil {
		return unbranded, os.NewSyscallError("getrlimit", err)
	}
	b := newBrand(own.Max)
	if b == unbranded {
		return unbranded, fmt.Errorf("RLIMIT_RTTIME is %d, too low to be lowered", own.Max)
	}
	limit := unix.Rlimit{Cur: uint64(b), Max: uint64(b)}
	if err := unix.Prlimit(pid, unix.RLIMIT_RTTIME, &limit, nil); err != nil {
		return unbranded, os.NewSyscallError("prlimit", err)
	}
	return b, nil
}

// nextBrand takes for this process, the guardian, the brand that its next
// program inherits; zero if it cannot be told from others.
func nextBrand() brand {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTTIME, &own); err != nil {
		return unbranded
	}
	b := brand(own.Max) - 1
	if own.Max == unix.RLIM_INFINITY || b.family() == 0 || b.family() != brand(own.Max).family() {
		return unbranded
	}
	limit := unix.Rlimit{Cur: uint64(b), Max: uint64(b)}
	if unix.Setrlimit(unix.RLIMIT_RTTIME, &limit) != nil {
		return unbranded
	}
	return b
}

// readBrand returns a process's brand, zero if it has none.
func readBrand(pid int) brand {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return unbranded
	}
	return brandIn(raw)
}

// brandIn finds the brand in the text of /proc/PID/limits, see proc_pid_limits(5).
func brandIn(limits []byte) brand {
	for line := range bytes.Lines(limits) {
		rest, found := bytes.CutPrefix(line, []byte("Max realtime timeout"))
		if !found {
			continue
		}
		if fields := bytes.Fields(rest); len(fields) > 1 { // the soft and the hard limit
			hard, err := strconv.ParseUint(string(fields[1]), 10, 64)
			if err == nil { // it is no number when there is no limit
				return brand(hard)
			}
		}
	}
	return unbranded
}
