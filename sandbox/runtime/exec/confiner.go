package exec

import (
	"context"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// DefaultTmpMB is the size of a program's /tmp at the level namespaces, and of its
// work folder at the level process, in MiB.
const DefaultTmpMB = 256

// bubblewraps is how many processes of bubblewrap itself are around a program.
const bubblewraps = 2

// confiner confines this node's programs: it has what they are lent.
type confiner struct {
	cfg     Config
	machine isolation.Machine
	system  isolation.System
	groups  *hierarchy
	users   *users
	work    string // "": there is none
	mounts  bool   // this node may mount, and so remove what belongs to other users
	binary  string // this program's path, links resolved
	bwrap   string // bubblewrap's path
	hidden  isolation.Hidden
	// protected are the node's own files and folders, also those that are not there yet.
	protected []string
}

// newConfiner finds out what works, and sweeps what a former life of the node
// left. The caller must call close.
func newConfiner(cfg Config, log *slog.Logger) *confiner {
	c := &confiner{cfg: cfg, system: isolation.FindSystem(), users: newUsers(cfg.firstUser(), cfg.users())}
	c.binary, _ = os.Readlink("/proc/self/exe")
	c.bwrap, _ = osexec.LookPath("bwrap")
	var faults map[isolation.Primitive]string
	c.groups, faults = openHierarchy(cfg.Node, log)
	if c.machine = trial(cfg.firstUser()); c.machine.Has(isolation.NoNewPrivs) { // else nothing can be tried
		c.groups.verify(faults)
	}
	work, err := openWork(cfg.Node, log)
	if c.work = work; err != nil {
		faults[isolation.WorkFolder] = err.Error()
	}
	c.machine = machine(c.machine, faults)
	c.mounts = c.work != "" && c.machine.Root && c.machine.Has(isolation.UID) && mayMount(c.work, cfg.firstUser())
	if c.mounts {
		sweepIPC(cfg.firstUser(), cfg.users(), log)
	}
	for _, path := range cfg.Protected {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		c.protected = append(c.protected, filepath.Clean(path))
		switch info, err := os.Stat(path); {
		case err != nil:
		case info.IsDir():
			c.hidden.Folders = append(c.hidden.Folders, path)
		default:
			c.hidden.Files = append(c.hidden.Files, path)
		}
	}
	return c
}

// close gives back what the node itself has. No program may be left.
func (c *confiner) close() {
	c.groups.close()
	if c.work != "" {
		unmountBelow(c.work) // of what was stuck
		_ = os.RemoveAll(c.work)
	}
}

// program is a task that can be started.
type program struct {
	plan      isolation.Plan
	path, dir string
	own       bool // it is the node's own binary
}

// prepare decides how a task is confined and finds its program.
func (c *confiner) prepare(task sandbox.Task) (program, error) {
	want := isolation.Want{Level: task.Isolation, Require: c.cfg.RequireIsolation, Network: task.Network, Open: c.cfg.Open}
	if task.Limits != nil {
		want.Limits = *task.Limits
	}
	var err error
	if want.Mounts, err = isolation.CheckMounts(task.Mounts, c.cfg.Protected, filepath.EvalSymlinks); err != nil {
		return program{}, err
	}
	var p program
	if p.plan, err = isolation.Decide(c.machine, want); err != nil {
		return program{}, err
	}
	see := c.sight(p.plan)
	if p.path, p.own, err = lookup(task, see); err != nil {
		return program{}, err
	}
	p.dir, err = workDir(task.Dir, see)
	return p, err
}

// sight is what a program of a plan sees of the machine.
func (c *confiner) sight(p isolation.Plan) sight {
	return sight{view: c.system.View(p), level: p.Level, binary: c.binary}
}

// lend makes what a program needs, and how it is confined; nil for a bare start.
func (c *confiner) lend(id, owner string, p program) (*holdings, *confinement, error) {
	h := &holdings{isolation: p.plan.Isolation, limitMB: p.plan.Limits.MemoryMB}
	if !p.plan.Shim() {
		return h, nil, nil
	}
	f, err := c.confine(h, id, owner, p)
	if err != nil {
		h.release()
		return nil, nil, fault(errs.Internal, err, "process %s cannot be confined", id)
	}
	return h, f, nil
}

func (c *confiner) confine(h *holdings, id, owner string, p program) (*confinement, error) {
	var err error
	f := &confinement{Shim: shimPlan{Path: p.path, Dir: p.dir}}
	if p.own {
		f.Shim.Path = ""
	}
	for _, l := range p.plan.Rlimits {
		f.Shim.Rlimits = append(f.Shim.Rlimits, rlimit(l))
	}
	beside := 0
	if p.plan.Level == sandbox.IsolationNamespaces {
		beside = bubblewraps
	}
	if h.group, err = c.groups.newGroup(id, p.plan.Groups, p.plan.Limits, beside); err != nil {
		return nil, err
	}
	f.Group, f.Groups = h.group.v2, h.group.v1
	if len(f.Groups) > 0 {
		f.Warm = filepath.Dir(f.Groups[0])
	}
	if p.plan.Level == sandbox.IsolationNone {
		return f, nil
	}
	if p.plan.Drop {
		if f.User, h.giveUser, err = c.users.lend(orElse(owner, id)); err != nil {
			return nil, err
		}
	}
	f.Shim.NoCaps = c.machine.Root && !p.plan.Drop
	f.Scope = p.plan.Scope
	if p.plan.Network != sandbox.NetworkNone && c.machine.Has(isolation.OwnPorts) && c.cfg.Ports != nil {
		f.Closed = c.cfg.Ports()
	}
	filter := filterKind{p.plan.Network, true}
	if p.plan.Level == sandbox.IsolationNamespaces {
		filter.network = sandbox.NetworkHost // what there is, is its own
		f.Bwrap = append([]string{c.bwrap}, isolation.Bubblewrap(c.system, p.plan, c.cfg.tmpMB(), c.hidden, c.machine.OldBubblewrap)...)
	} else {
		if err := c.restrictFiles(f, h, id, p.plan.Mounts); err != nil {
			return nil, err
		}
		filter.shares = f.User != 0 && c.mounts // else nobody can tell or remove what is its
		f.Shim.Rlimits = append(f.Shim.Rlimits, noQueues)
	}
	f.Shim.Filter, err = filterFor(filter)
	return f, err
}

// restrictFiles makes landlock's rules of the level process. Where each sandbox
// has a user of its own the rules are the same for all, and the users keep their
// work folders apart; else each program gets rules, and with them the cost of a
// layer, see grantPorts.
// The mounts are folders that may be read where they are.
func (c *confiner) restrictFiles(f *confinement, h *holdings, id string, mounts []sandbox.Mount) error {
	files := c.systemFiles()
	for _, m := range mounts {
		files = append(files, fileRule{Path: m.Source, Rights: mayRun})
	}
	if c.work != "" {
		var err error
		size := 0
		if c.mounts && f.User != 0 {
			size = c.cfg.tmpMB()
		} else { // the next best: each of its files is bounded
			f.Shim.Rlimits = append(f.Shim.Rlimits, rlimit{unix.RLIMIT_FSIZE, uint64(c.cfg.tmpMB()) << 20})
		}
		if h.work, err = newWork(c.work, id, f.User, size); err != nil {
			return err
		}
	}
	every := ^uint64(0)
	switch {
	case f.User != 0 && h.work != "" && len(mounts) == 0:
		f.Files = append(files, fileRule{Path: c.work, Rights: every})
	case h.work != "":
		f.Shim.Rules = rules{Files: append(files, fileRule{Path: h.work, Rights: every}), Scope: f.Scope}
	case len(mounts) > 0:
		f.Shim.Rules = rules{Files: files, Scope: f.Scope}
	default:
		f.Files = files
	}
	return nil
}

// systemFiles are what programs may read and run everywhere.
func (c *confiner) systemFiles() []fileRule {
	var files []fileRule
	for _, dir := range c.system.Folders {
		files = append(files, fileRule{Path: dir, Rights: mayRun, Except: protectedIn(dir, c.protected)})
	}
	for _, path := range append([]string{"/proc", "/sys/devices/system/cpu"}, c.system.Extra...) {
		files = append(files, fileRule{Path: path, Rights: mayRead})
	}
	for _, device := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		files = append(files, fileRule{Path: "/dev/" + device, Rights: mayWrite})
	}
	return files
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// environment is a program's whole environment.
func (h *holdings) environment(task sandbox.Task) []string {
	if _, given := task.Env["TMPDIR"]; h.work == "" || given {
		return environ(task)
	}
	return append(environ(task), "TMPDIR="+h.work)
}

// Isolation tells what confines programs on this machine. It waits for the
// self-tests, which take some milliseconds. Kinds: not_ready (Run has ended), or
// ctx's error.
func (r *Runtime) Isolation(ctx context.Context) (isolation.Report, error) {
	c, err := r.whatWorks(ctx)
	if err != nil {
		return isolation.Report{}, err
	}
	return c.machine.Report(), nil
}

// IsolationNow is Isolation of a moment: false when the self-tests are not done.
func (r *Runtime) IsolationNow() (isolation.Report, bool) {
	select {
	case <-r.tested:
		if r.confiner != nil {
			return r.confiner.machine.Report(), true
		}
	default:
	}
	return isolation.Report{}, false
}

// confining returns who confines, once Run has found out what works.
func (r *Runtime) confining(ctx context.Context) (*confiner, error) {
	r.mu.Lock()
	running := r.running
	r.mu.Unlock()
	if !running {
		return nil, errNotRunning()
	}
	return r.whatWorks(ctx)
}

func errNotRunning() error {
	return errs.New(errs.NotReady, "no programs are started now: the node is starting or stopping")
}

// defaults of a configuration.
func (c Config) firstUser() int { return orInt(c.FirstUser, DefaultFirstUser) }
func (c Config) users() int     { return orInt(c.Users, DefaultUsers) }
func (c Config) tmpMB() int     { return orInt(c.TmpMB, DefaultTmpMB) }

func orInt(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}

// CheckIsolation says why this machine cannot give what RequireIsolation demands;
// nil if it can. It may take the time of the self-tests.
func (c Config) CheckIsolation() error {
	if isolation.Rank(c.RequireIsolation) <= 0 {
		return nil // nothing is demanded
	}
	return isolation.Demand(trial(c.firstUser()), c.RequireIsolation)
}
