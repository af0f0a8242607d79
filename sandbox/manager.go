package sandbox

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Limits of a manager.
const (
	DefaultMaxSandboxes = 1000
	DefaultMaxProcesses = 10000
)

// Config is what a [Manager] needs.
type Config struct {
	Node         string           // this node's name, the first part of its pids
	Incarnation  func() uint64    // this start of the node; asked for each pid
	Runtime      Runtime          // starts the programs
	Store        Store            // takes the rows
	Now          func() time.Time // nil is time.Now
	OnEvent      func(Event)      // nil tells nobody
	Log          *slog.Logger     // nil discards
	MaxSandboxes int              // zero is DefaultMaxSandboxes
	MaxProcesses int              // programs in all; zero is DefaultMaxProcesses
	Claimer      Claimer          // holds the ids; nil: they are unique on this node only
	Names        Names            // holds the names of children; nil: nobody does
	Decrees      Decrees          // nil: there are no others to hear of a destruction
	Disk         Disk             // nil: nothing is kept
	Restored     Restored         // what a former start has kept
	// LogDir is a folder for what programs print: the newest of each slot, in
	// files, see [DefaultLogFileBytes]. "" keeps it in memory only.
	LogDir       string
	LogFileBytes int64 // of one slot, on disk; zero is DefaultLogFileBytes, the least is 1 MiB
}

// Manager owns the sandboxes of this node. All methods may be called from
// several goroutines at once.
type Manager struct {
	cfg    Config
	serial atomic.Uint64 // of pids

	mu    sync.Mutex
	ctx   context.Context // Run's; nil before
	over  bool            // Run's context has ended
	trees map[string]*tree
	pids  map[string]member // current and recent ones
	gone  []*tree           // whose logs can still be read, oldest first
	tasks sync.WaitGroup    // what Run waits for; added to under mu only while !over
}

// NewManager makes a manager; it starts nothing.
func NewManager(cfg Config) *Manager {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxSandboxes <= 0 {
		cfg.MaxSandboxes = DefaultMaxSandboxes
	}
	if cfg.MaxProcesses <= 0 {
		cfg.MaxProcesses = DefaultMaxProcesses
	}
	if cfg.LogFileBytes == 0 {
		cfg.LogFileBytes = DefaultLogFileBytes
	}
	cfg.LogFileBytes = max(cfg.LogFileBytes, minLogFileBytes)
	return &Manager{cfg: cfg.withDefaults(), trees: make(map[string]*tree), pids: make(map[string]member)}
}

// now is the time as rows have it: UTC, in microseconds.
func (m *Manager) now() time.Time { return m.cfg.Now().UTC().Truncate(time.Microsecond) }

// Run keeps the sandboxes running until ctx ends, then stops them all, each in
// reverse order of its children and with their shutdown times, and returns when
// nothing is left. It can be called once.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.ctx = ctx
	m.restore()
	if m.cfg.LogDir != "" {
		m.goTask(func() { m.tidyLogs(ctx) })
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.over = true
	m.mu.Unlock()
	m.tasks.Wait()
	m.removeGone()
	return nil
}

// running is Run's context, which has been given one.
func (m *Manager) running() context.Context {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ctx
}

// later runs f in a task of its own; false if the node ends.
func (m *Manager) later(f func(run context.Context)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	run := m.ctx
	return m.goTask(func() { f(run) })
}

// goTask runs f so that Run waits for it; false if Run does not run.
// The caller holds mu.
func (m *Manager) goTask(f func()) bool {
	if m.ctx == nil || m.over || m.ctx.Err() != nil {
		return false
	}
	m.tasks.Go(f)
	return true
}

// Wait says how long [Manager.Create] waits.
type Wait string

// The waits.
const (
	WaitRunning Wait = "running" // until all children were started, or one could not be
	WaitPlaced  Wait = "placed"  // not for the start
)

// Create starts a sandbox, once its id is this creation's in the whole cluster and
// it is on disk. With WaitRunning it returns when all children were
// started; when one cannot be, the error says which and why, and the failed
// sandbox stays visible until it is destroyed. When ctx ends first the sandbox
// goes on starting. Kinds: bad_spec, already_exists (it says where), conflict (a
// limit), not_ready (the node is stopping), node_unavailable, timeout.
func (m *Manager) Create(ctx context.Context, spec Spec, wait Wait) (memdb.Sandbox, error) {
	if wait != WaitRunning && wait != WaitPlaced {
		return memdb.Sandbox{}, errs.BadParam("wait", "is %q: use %q or %q", wait, WaitRunning, WaitPlaced)
	}
	if err := spec.Validate(); err != nil {
		return memdb.Sandbox{}, err
	}
	if err := m.isHere(spec); err != nil {
		return memdb.Sandbox{}, err
	}
	t := newTree(m, spec.WithDefaults())
	if err := m.add(t); err != nil {
		return memdb.Sandbox{}, err
	}
	if wait == WaitPlaced {
		return t.placed(ctx)
	}
	return t.started(ctx, t.life)
}

// isHere refuses a spec that names another node.
func (m *Manager) isHere(spec Spec) error {
	if spec.Placement == nil || spec.Placement.Node == "" || spec.Placement.Node == m.cfg.Node {
		return nil
	}
	return errs.New(errs.Conflict, "the spec's placement names node %q, but this is %q: ask that node, or leave placement.node empty",
		spec.Placement.Node, m.cfg.Node)
}

// add takes a tree in and starts its goroutine, if the limits allow.
func (m *Manager) add(t *tree) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.trees[t.spec.ID]; taken {
		return errs.New(errs.AlreadyExists, "sandbox %q already exists on node %q: destroy it first, or choose another id", t.spec.ID, m.cfg.Node)
	}
	if len(m.trees) >= m.cfg.MaxSandboxes {
		return errs.New(errs.Conflict, "node %q has %d sandboxes and takes no more: destroy one, or name another node", m.cfg.Node, len(m.trees))
	}
	if err := m.roomFor(t.root); err != nil {
		return err
	}
	ctx := m.ctx
	if !m.goTask(func() { t.run(ctx) }) {
		return errs.New(errs.NotReady, "node %q starts no sandboxes now, it is starting or stopping: try again later or on another node", m.cfg.Node)
	}
	m.trees[t.spec.ID] = t
	return nil
}

// roomFor refuses a member, with all below it, that is one too many. The caller
// holds mu.
func (m *Manager) roomFor(added member) error {
	processes := 0
	count := func(one member) {
		if one.at().kind == memdb.Worker {
			processes++
		}
	}
	added.each(count)
	for _, t := range m.trees {
		t.root.each(count)
	}
	if processes > m.cfg.MaxProcesses {
		return errs.New(errs.Conflict, "node %q would have %d processes and takes at most %d: destroy a sandbox, or name another node",
			m.cfg.Node, processes, m.cfg.MaxProcesses)
	}
	return nil
}

// Restart stops a sandbox as [Manager.Destroy] does and, when nothing of it runs any
// more, starts it again: the same uid, the children of its spec, the intensity counted anew.
// It returns when all children were started, or why one could not be; by says who
// wants it. When ctx ends first the sandbox goes on. Kinds: not_found, conflict,
// bad_spec, timeout.
func (m *Manager) Restart(ctx context.Context, id, by string) (memdb.Sandbox, error) {
	t, err := m.tree(id)
	if err != nil {
		return memdb.Sandbox{}, err
	}
	if t.isDestroyed() {
		return memdb.Sandbox{}, errs.New(errs.Conflict, "sandbox %q is being destroyed: create it again when it is gone", id)
	}
	return t.started(ctx, t.restart("by "+by, 0))
}

// Info is what the node that runs a sandbox knows of it.
type Info struct {
	Sandbox   memdb.Sandbox   `json:"sandbox"`
	Processes []memdb.Process `json:"processes"` // its supervisor first, then the children in the spec's order
	History   []memdb.Process `json:"history"`   // the newest ended processes, oldest first, at most 32
}

// Info tells all about a sandbox of this node. Kind: not_found.
func (m *Manager) Info(id string) (Info, error) {
	t, err := m.tree(id)
	if err != nil {
		return Info{}, err
	}
	return t.info(), nil
}

// Processes returns the rows of all current processes of this node, sorted by
// pid.
func (m *Manager) Processes() []memdb.Process {
	m.mu.Lock()
	trees := make([]*tree, 0, len(m.trees))
	for _, t := range m.trees {
		trees = append(trees, t)
	}
	m.mu.Unlock()
	var rows []memdb.Process
	for _, t := range trees {
		rows = append(rows, t.info().Processes...)
	}
	slices.SortFunc(rows, func(a, b memdb.Process) int { return strings.Compare(a.PID, b.PID) })
	return rows
}

// tree finds a sandbox.
func (m *Manager) tree(id string) (*tree, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.trees[id]; ok {
		return t, nil
	}
	return nil, errs.New(errs.NotFound, "no sandbox %q on node %q: see which there are with sandbox.list", id, m.cfg.Node)
}

// keepGone is of how many destroyed sandboxes the logs can still be read: who
// follows one shall see its last lines.
const keepGone = 16

// forget removes a tree, and the pids of one that has been gone for long.
func (m *Manager) forget(t *tree) {
	if oldest := m.retire(t); oldest != nil && oldest.isDestroyed() {
		m.removeLogs(oldest)
	}
}

// retire puts a tree among those that are gone, and returns the one that falls
// out; nil if none does.
func (m *Manager) retire(t *tree) (oldest *tree) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trees[t.spec.ID] == t {
		delete(m.trees, t.spec.ID)
	}
	m.gone = append(m.gone, t)
	if len(m.gone) <= keepGone {
		return nil
	}
	oldest = m.gone[0]
	m.gone = append([]*tree(nil), m.gone[1:]...)
	for pid, s := range m.pids {
		if s.at().tree == oldest {
			delete(m.pids, pid)
		}
	}
	return oldest
}

// unindex forgets all pids of a member.
func (m *Manager) unindex(gone member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.pids, func(_ string, one member) bool { return one == gone })
}

// ending reports whether Run is to stop everything.
func (m *Manager) ending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ctx != nil && m.ctx.Err() != nil
}

// nextPID makes a pid that was never used.
func (m *Manager) nextPID() string {
	return formatPID(m.cfg.Node, m.cfg.Incarnation(), m.serial.Add(1))
}

// emit tells the hook and the log.
func (m *Manager) emit(e Event) {
	m.cfg.Log.Debug("sandbox event", "type", e.Type, "subject", e.Subject, "why", e.Why)
	m.cfg.OnEvent(e)
}

// stored logs a store that failed: the programs go on, the view of them is old.
func (m *Manager) stored(what, key string, err error) {
	if err != nil {
		m.cfg.Log.Error("row not stored", "table", what, "key", key, "error", err)
	}
}
