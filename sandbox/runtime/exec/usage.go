package exec

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
)

// ticksPerSecond is the unit of processor time in /proc, which Linux shows to
// programs as 100 whatever its own clock is (USER_HZ).
const ticksPerSecond = 100

// Usage implements sandbox.Process. It reads /proc in the node itself: the
// guardian has to kill, and not to be asked. Kinds: not_found when the process
// has ended, internal when /proc cannot be read.
func (p *Process) Usage() (sandbox.Usage, error) {
	members, err := p.link.look(p.id)
	if err != nil {
		return sandbox.Usage{}, fault(errs.Internal, err, "the processes of this machine could not be listed")
	}
	var all sandbox.Usage
	for _, member := range members {
		use, err := usageOf(member)
		switch {
		case err == nil:
			all.Add(use)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH): // it has not ended meanwhile
			return sandbox.Usage{}, fault(errs.Internal, err, "%v could not be measured", member)
		}
	}
	if all.Processes == 0 {
		return sandbox.Usage{}, errs.New(errs.NotFound, "process %s has ended", p.id)
	}
	return all, nil
}

// lookFresh is how old a look at the machine's processes may be that figures are
// taken of: those of a sandbox of many children come from one.
const lookFresh = 100 * time.Millisecond

// survey is what was seen of the trees, and when.
type survey struct {
	mu    sync.Mutex
	trees map[string][]proc
	at    time.Time
}

// look returns the members of a tree, as they were a moment ago.
func (l *link) look(id string) ([]proc, error) {
	l.seen.mu.Lock()
	defer l.seen.mu.Unlock()
	if members := l.seen.trees[id]; len(members) > 0 && time.Since(l.seen.at) < lookFresh {
		return members, nil
	}
	t, err := readTable()
	if err != nil {
		return nil, err
	}
	l.seen.trees, l.seen.at = l.grove().count(t).trees, time.Now()
	return l.seen.trees[id], nil
}

// grove makes the forest of what the guardian holds.
func (l *link) grove() *forest {
	l.mu.Lock()
	defer l.mu.Unlock()
	branded := make(map[brand]string, len(l.procs))
	f := newForest(l.guard.PID, func(p proc) string {
		if tree := branded[readBrand(p.PID)]; tree != "" {
			return tree
		}
		return readMark(p.PID)
	})
	for id, p := range l.procs {
		if p.root.PID != 0 {
			branded[p.brand] = id
			f.plant(id, p.root)
		}
	}
	delete(branded, unbranded)
	return f
}

// usageOf measures one process. One that has ended and waits to be reaped has
// only used time.
func usageOf(p proc) (sandbox.Usage, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		return sandbox.Usage{}, err
	}
	use, err := parseUsage(raw)
	if err != nil || p.dead {
		return sandbox.Usage{CPUMS: use.CPUMS}, err
	}
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", p.PID))
	if err != nil {
		return sandbox.Usage{}, err
	}
	defer dir.Close()
	files, err := dir.Readdirnames(-1)
	use.Processes, use.Files = 1, len(files)
	return use, err
}

// parseUsage reads what /proc/PID/stat tells, see proc_pid_stat(5).
func parseUsage(raw []byte) (sandbox.Usage, error) {
	const user, system, childrenUser, childrenSystem, threads, rss = 11, 12, 13, 14, 17, 21
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(fields) <= rss {
		return sandbox.Usage{}, fmt.Errorf("it has %d fields in /proc", len(fields))
	}
	var failed error
	number := func(i int) int64 {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			failed = err
		}
		return n
	}
	ticks := number(user) + number(system) + number(childrenUser) + number(childrenSystem)
	use := sandbox.Usage{
		Threads: int(number(threads)), RSSBytes: number(rss) * int64(os.Getpagesize()),
		CPUMS: ticks * 1000 / ticksPerSecond,
	}
	return use, failed
}
