package exec

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// These are plain files and folders, and here they are used as such: a library for
// them brings three others (protobuf, ebpf, dbus) whose start every start of a
// program would pay for.

// controllers are what bounds programs, by the name of both versions.
var controllers = []isolation.Primitive{isolation.MemoryLimit, isolation.CPULimit, isolation.PidsLimit}

// cpuPeriod is the time in which a share of the CPU is granted, in microseconds.
const cpuPeriod = 100_000

// hierarchy is where this node's programs have their cgroups.
type hierarchy struct {
	// folders are the node's own folder for each controller; with version 2 it is
	// the same for all.
	folders map[isolation.Primitive]string
	v2      bool
	unified string // the node's own folder of version 2, "" if there is none: it can kill
}

// lives names the folder of one life of a node: whoever reads it can tell whether
// that life is over.
func lives(node string) (prefix, own string) {
	prefix = "glassbox-" + orNode(node) + "-"
	birth := uint64(0)
	if p, err := readProc(os.Getpid()); err == nil {
		birth = p.Birth
	}
	return prefix, fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), birth)
}

func orNode(node string) string {
	if node == "" {
		return "node"
	}
	return node
}

// over reports whether the life that a folder is named after is over.
func over(name, prefix string) bool {
	var id identity
	rest, ok := strings.CutPrefix(name, prefix)
	if n, err := fmt.Sscanf(rest, "%d-%d", &id.PID, &id.Birth); !ok || n != 2 || err != nil || fmt.Sprintf("%d-%d", id.PID, id.Birth) != rest {
		return false
	}
	p, err := readProc(id.PID)
	return err != nil || p.identity != id
}

// cgroupMount is a place where cgroups are seen, and this process's own there.
type cgroupMount struct {
	folder string
	v2     bool
}

// findCgroups returns this process's own cgroup in each hierarchy: by controller,
// and "" for version 2.
func findCgroups(mountinfo, own string) map[string]cgroupMount {
	paths := make(map[string]string) // by controller
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 {
			for c := range strings.SplitSeq(parts[1], ",") {
				paths[c] = parts[2]
			}
		}
	}
	found := make(map[string]cgroupMount)
	for line := range strings.Lines(mountinfo) {
		fields, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		f, kind := strings.Fields(fields), strings.Fields(after)
		if len(f) < 5 || len(kind) < 3 {
			continue
		}
		names := []string{""}
		switch kind[0] {
		case "cgroup":
			names = strings.Split(kind[2], ",")
		case "cgroup2":
		default:
			continue
		}
		for _, name := range names {
			path, ok := paths[name]
			if !ok || found[name].folder != "" {
				continue
			}
			if root := f[3]; root != "/" { // a container sees its own part only
				path = strings.TrimPrefix(path, root)
			}
			found[name] = cgroupMount{filepath.Join(f[4], path), kind[0] == "cgroup2"}
		}
	}
	return found
}

// openHierarchy makes the node's own cgroups, and sweeps those of its former lives.
// Which limits cannot be had, and why, is in faults.
func openHierarchy(node string, log *slog.Logger) (h *hierarchy, faults map[isolation.Primitive]string) {
	h, faults = &hierarchy{folders: make(map[isolation.Primitive]string)}, make(map[isolation.Primitive]string)
	mountinfo, _ := os.ReadFile("/proc/self/mountinfo")
	own, _ := os.ReadFile("/proc/self/cgroup")
	mounts := findCgroups(string(mountinfo), string(own))
	prefix, name := lives(node)
	if m, ok := mounts[""]; ok {
		sweepGroups(m.folder, prefix, log)
		if folder := filepath.Join(m.folder, name); os.Mkdir(folder, 0o755) == nil {
			h.unified = folder
		}
	}
	for _, c := range controllers {
		if m, ok := mounts[string(c)]; ok {
			sweepGroups(m.folder, prefix, log)
			folder := filepath.Join(m.folder, name)
			if err := makeGroup(folder); err != nil {
				faults[c] = fmt.Sprintf("no cgroup can be made: %v", err)
				continue
			}
			h.folders[c] = folder
			continue
		}
		if err := h.delegate(mounts[""], c); err != nil {
			faults[c] = fmt.Sprintf("no cgroup can be made: %v", err)
			continue
		}
		h.folders[c], h.v2 = h.unified, true
	}
	return h, faults
}

// verify starts something in a cgroup of version 2; kernels before 5.7 and some
// containers cannot do that. Then there is none, and no limit by it.
func (h *hierarchy) verify(faults map[isolation.Primitive]string) {
	if h.unified == "" {
		return
	}
	folder := filepath.Join(h.unified, "selftest")
	err := makeGroup(folder)
	if err == nil {
		_, err = try(confinement{Group: folder, Shim: shimPlan{Probe: true}})
		emptyGroup(folder)
	}
	if err == nil {
		return
	}
	for c, own := range h.folders {
		if own == h.unified {
			faults[c] = fmt.Sprintf("nothing can be started in a cgroup: %v", err)
			delete(h.folders, c)
		}
	}
	_ = os.Remove(h.unified)
	h.unified, h.v2 = "", false
}

// makeGroup makes a cgroup that may be there already.
func makeGroup(folder string) error {
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// delegate passes a controller of version 2 on to the node's programs. A cgroup
// with processes in it passes nothing on, so this process moves into one of its own
// first.
func (h *hierarchy) delegate(m cgroupMount, c isolation.Primitive) error {
	if h.unified == "" {
		return errors.New("there is none of this node's own")
	}
	has, err := os.ReadFile(filepath.Join(m.folder, "cgroup.controllers"))
	if err != nil {
		return err
	}
	if !bytes.Contains(append(append([]byte(" "), bytes.TrimSpace(has)...), ' '), []byte(" "+string(c)+" ")) {
		return fmt.Errorf("%s has no controller %s", m.folder, c)
	}
	enable := func(folder string) error {
		return os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+string(c)), 0)
	}
	if err := enable(m.folder); errors.Is(err, unix.EBUSY) {
		self := filepath.Join(h.unified + "-self")
		if err := makeGroup(self); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(self, "cgroup.procs"), fmt.Appendf(nil, "%d", os.Getpid()), 0); err != nil {
			return err
		}
		if err := enable(m.folder); err != nil {
			return fmt.Errorf("others are in %s too: give the node a cgroup of its own (as a systemd unit, Delegate=yes): %w", m.folder, err)
		}
	} else if err != nil {
		return err
	}
	return enable(h.unified)
}

// close removes the node's own cgroups.
func (h *hierarchy) close() {
	for _, folder := range h.folders {
		_ = os.Remove(folder) // the next life sweeps what is busy
	}
	if h.unified != "" {
		_ = os.Remove(h.unified)
	}
}

// sweepGroups kills what is in the cgroups of lives that are over, and removes
// them.
func sweepGroups(parent, prefix string, log *slog.Logger) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		if !e.IsDir() || !over(strings.TrimSuffix(e.Name(), "-self"), prefix) {
			continue
		}
		folder := filepath.Join(parent, e.Name())
		killed := 0
		inner, _ := os.ReadDir(folder)
		for _, sub := range inner {
			if sub.IsDir() {
				killed += emptyGroup(filepath.Join(folder, sub.Name()))
			}
		}
		killed += emptyGroup(folder)
		log.Info("a cgroup that an ended node of this name has left was removed", "folder", folder, "killed", killed)
	}
}

// groupPatience is how long the removal of a cgroup is tried: its processes may
// take a moment to go.
const groupPatience = time.Second

// emptyGroup kills what is in a cgroup and removes it.
func emptyGroup(folder string) (killed int) {
	seen := make(map[int]bool)
	for end := time.Now().Add(groupPatience); time.Now().Before(end); time.Sleep(sweepSoon) {
		raw, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		if err != nil {
			return len(seen)
		}
		for _, field := range strings.Fields(string(raw)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 && pid != os.Getpid() {
				seen[pid] = true
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		if os.Remove(folder) == nil {
			break
		}
	}
	return len(seen)
}

// group is the cgroups of one program. A nil one is none.
type group struct {
	v1     []string
	v2     string // "" is none
	memory string // the one that bounds memory
}

// newGroup makes the cgroups of a program; what its shim adds to the processes in
// one of version 2 is beside the limit.
func (h *hierarchy) newGroup(id string, wanted []string, limits sandbox.Limits, beside int) (*group, error) {
	g := &group{}
	name := strings.ReplaceAll(id, "/", "-")
	if h.unified != "" {
		g.v2 = filepath.Join(h.unified, name)
		if err := makeGroup(g.v2); err != nil {
			return nil, fmt.Errorf("make a cgroup: %w", err)
		}
	}
	for _, c := range wanted {
		primitive := isolation.Primitive(c)
		folder, bounds := g.v2, limits
		if h.v2 {
			bounds.Pids += beside
		} else {
			folder = filepath.Join(h.folders[primitive], name)
			g.v1 = append(g.v1, folder)
		}
		err := makeGroup(folder)
		if err == nil {
			err = bound(folder, h.v2, primitive, bounds)
		}
		if err != nil {
			g.remove()
			return nil, fmt.Errorf("make a cgroup with a limit: %w", err)
		}
		if primitive == isolation.MemoryLimit {
			g.memory = folder
		}
	}
	return g, nil
}

// bound writes one limit.
func bound(folder string, v2 bool, c isolation.Primitive, limits sandbox.Limits) error {
	type setting struct {
		file, value string
		optional    bool
	}
	var list []setting
	memory, pids := strconv.FormatInt(int64(limits.MemoryMB)<<20, 10), strconv.Itoa(limits.Pids)
	quota := strconv.Itoa(int(limits.CPUs * cpuPeriod))
	period := strconv.Itoa(cpuPeriod)
	switch {
	case c == isolation.MemoryLimit && v2:
		list = []setting{{"memory.max", memory, false}, {"memory.swap.max", "0", true}, {"memory.oom.group", "1", true}}
	case c == isolation.MemoryLimit:
		list = []setting{{"memory.limit_in_bytes", memory, false}, {"memory.memsw.limit_in_bytes", memory, true}}
	case c == isolation.PidsLimit:
		list = []setting{{"pids.max", pids, false}}
	case c == isolation.CPULimit && v2:
		list = []setting{{"cpu.max", quota + " " + period, false}}
	case c == isolation.CPULimit:
		list = []setting{{"cpu.cfs_period_us", period, false}, {"cpu.cfs_quota_us", quota, false}}
	}
	for _, s := range list {
		err := os.WriteFile(filepath.Join(folder, s.file), []byte(s.value), 0)
		if err != nil && !(s.optional && errors.Is(err, os.ErrNotExist)) && !(s.optional && errors.Is(err, os.ErrPermission)) {
			return err
		}
	}
	return nil
}

// oomKills is how many members were killed because there was no more memory for
// them.
func (g *group) oomKills() int {
	if g == nil || g.memory == "" {
		return 0
	}
	file := "memory.oom_control"
	if g.memory == g.v2 {
		file = "memory.events"
	}
	raw, err := os.ReadFile(filepath.Join(g.memory, file))
	if err != nil {
		return 0
	}
	return counted(string(raw), "oom_kill")
}

// counted finds a number in a file of names and numbers.
func counted(text, name string) int {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	return 0
}

// kill kills all members at once.
func (g *group) kill() {
	if g != nil && g.v2 != "" {
		// A kernel before 5.14 has no such file; the guardian kills them too.
		_ = os.WriteFile(filepath.Join(g.v2, "cgroup.kill"), []byte("1"), 0)
	}
}

// remove removes the cgroups, from which all must be gone.
func (g *group) remove() {
	if g == nil {
		return
	}
	for _, folder := range g.v1 {
		emptyGroup(folder)
	}
	if g.v2 != "" {
		emptyGroup(g.v2)
	}
}
