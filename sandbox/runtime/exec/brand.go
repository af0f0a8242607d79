package exec

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// brand tells from which node, and from which of its guardian's programs, a
// process descends, whatever it did to its environment, its session and its parents. It
// is the hard limit RLIMIT_RTTIME, because a limit
//   - goes over to every child and stays across exec,
//   - can only be lowered without privileges, and of this one nobody thinks,
//   - can be read by everybody, in /proc/PID/limits,
//   - and this one limits nothing: it is for real-time programs that compute for
//     so long without a pause, here for more than an hour, mostly for thousands of years.
//
// The upper 32 bits are the node's, or if they cannot be the guardian's. The lower
// ones count down with the guardian's programs. Zero is none.
type brand uint64

const unbranded brand = 0

// family is what all processes of one node, or at least of one guardian, have
// in common.
func (b brand) family() brand { return b >> 32 }

// families is how many there are: a brand is far below "unlimited", and more
// than an hour.
const families = 1 << 30

// familyOf is the family of a node, by its name.
func familyOf(node string) brand {
	h := fnv.New32a()
	h.Write([]byte(node))
	return 1 + brand(h.Sum32()%(families-1))
}

// newBrand chooses the brand below which a guardian of this process brands the
// programs of a node; zero when there is no room.
func newBrand(node string) brand {
	var own unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_RTTIME, &own) != nil {
		return unbranded
	}
	return brandBelow(own.Max, node)
}

// brandBelow chooses a brand lower than a limit, also when that is a brand itself
// because the node is some other node's program.
func brandBelow(limit uint64, node string) brand {
	top := min(limit>>32, families)
	if top < 2 {
		return unbranded
	}
	family := familyOf(node)
	if node == "" || uint64(family) >= top {
		family = brand(1 + rand.Uint64N(top-1))
	}
	return family<<32 | math.MaxUint32
}

// takeBrand gives this process, the guardian, the next brand below the first, for
// its next program to inherit; zero if there is none.
func takeBrand(first brand) brand {
	var own unix.Rlimit
	if first == unbranded || unix.Getrlimit(unix.RLIMIT_RTTIME, &own) != nil {
		return unbranded
	}
	b := min(first, brand(own.Max)) - 1
	if b.family() != first.family() {
		return unbranded // 4 billion programs later
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
