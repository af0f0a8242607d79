package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Times of a run.
const (
	defaultPatience = 30 * time.Second
	settleTime      = time.Second // after the calls, before what is used is read again
)

// Setup is what a scenario needs of a cluster.
type Setup struct {
	Nodes int
	Break bool // links can be broken
}

// Starter starts a cluster of a target.
type Starter func(ctx context.Context, s Setup) (Cluster, error)

// Options are what a run may be told.
type Options struct {
	Nodes    int       // 0: the scenario's
	Progress io.Writer // one line at a time, while it runs; nil: none
	// Patience is how long a cluster may take to form, a fault to be known and
	// the nodes to agree again; 0 is 30 s.
	Patience time.Duration
	// LogDir is where the nodes' logs are written when an objective was missed;
	// "": nowhere. Run, if it is not 0, is in the files' names: which of several
	// runs this is.
	LogDir string
	Run    int
}

// Run runs a scenario on clusters that start makes, and reports. An error says
// that it could not be run at all; what was missed is in the report. If ctx ends
// there are both.
func Run(ctx context.Context, start Starter, s Scenario, o Options) (*Report, error) {
	if o.Nodes == 0 {
		o.Nodes = s.Nodes
	}
	if err := s.Fits(o.Nodes); err != nil {
		return nil, err
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	r := &run{scenario: s, options: o, start: start, began: time.Now()}
	r.history.Nodes = names(o.Nodes)
	err := r.all(ctx)
	if err != nil && (r.cluster == nil || r.unfit) {
		return nil, err
	}
	return r.report(err), ctx.Err()
}

// run is one run of a scenario.
type run struct {
	scenario Scenario
	options  Options
	start    Starter
	began    time.Time

	cluster Cluster
	target  Target
	unfit   bool // a node ended before the first cluster had formed
	watches []*Watch
	frozen  map[string]bool
	history History
	logs    map[string]string

	saying sync.Mutex // for Progress
}

func (r *run) say(format string, args ...any) {
	r.saying.Lock()
	defer r.saying.Unlock()
	if r.options.Progress != nil {
		fmt.Fprintf(r.options.Progress, "%6.1f s  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// all does everything; an error ends the run early, and what was not measured by
// then is missing in the report.
func (r *run) all(ctx context.Context) (err error) {
	for n := range max(1, r.scenario.Starts) {
		if n > 0 {
			if err := r.close(ctx); err != nil {
				return fmt.Errorf("end a cluster: %w", err)
			}
		}
		r.cluster = nil
		if err = r.form(ctx); err != nil {
			break
		}
	}
	if r.cluster == nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close(ctx)) }()
	if err != nil {
		return err
	}
	return r.work(ctx)
}

// form starts a cluster and waits for it.
func (r *run) form(ctx context.Context) error {
	first := len(r.history.Formation) == 0
	c, err := r.start(ctx, Setup{Nodes: r.options.Nodes, Break: slices.ContainsFunc(r.scenario.Steps, func(s Step) bool {
		return s.Do.Link != Link{}
	})})
	if err != nil {
		return fmt.Errorf("start a cluster: %w", err)
	}
	r.cluster, r.target, r.frozen = c, c.Target(), map[string]bool{}
	ctx, cancel := context.WithTimeout(ctx, r.options.Patience)
	defer cancel()
	joined, err := WaitJoined(ctx, c)
	f := Formation{Started: c.Started(), Joined: joined}
	r.history.Formation = append(r.history.Formation, f)
	if err != nil {
		r.say("not formed: %s", err)
		r.unfit = first && len(Running(c)) < r.options.Nodes
		return fmt.Errorf("the cluster did not form: %w", err)
	}
	r.say("%d nodes formed in %.0f ms", r.options.Nodes, Formations(&History{Nodes: r.history.Nodes, Formation: []Formation{f}})[0])
	return nil
}

// work makes the calls and does the steps meanwhile.
func (r *run) work(ctx context.Context) error {
	for _, node := range r.cluster.Names() {
		r.watches = append(r.watches, watchFrom(ctx, r.cluster, node, "")) // since it was started
	}
	if err := wait(ctx, r.scenario.Rest); err != nil {
		return err
	}
	r.sample(ctx, false)

	calls := newCalling(r.cluster, r.scenario.Calls)
	calling, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	r.history.Begun = time.Now()
	if r.scenario.Calls.Every > 0 {
		working.Go(func() { calls.run(calling) })
	}
	err := r.steps(ctx)
	if err == nil {
		err = wait(ctx, r.scenario.Length-time.Since(r.history.Begun))
	}
	stop()
	working.Wait()
	r.history.Ended, r.history.Calls = time.Now(), calls.made()
	r.say("%d calls made", len(r.history.Calls))
	if err == nil {
		err = r.settle(ctx)
	}
	for _, w := range r.watches {
		r.see(ctx, w)
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// see ends a watch and takes over what it has seen of the members, and what it
// has not.
func (r *run) see(ctx context.Context, w *Watch) {
	w.Close()
	if !r.frozen[w.node] && !r.downByFault(w.node) {
		if err := w.catchUp(ctx); err != nil {
			r.history.Unheard = append(r.history.Unheard, Loss{w.node, err.Error()})
		}
	}
	for _, e := range w.Events() {
		switch {
		case e.Node != w.node:
		case strings.HasPrefix(e.Type, "Member"):
			r.history.Sightings = append(r.history.Sightings, Sighting{Observer: w.node, Type: e.Type, Subject: e.Subject, Why: e.Why, At: e.Arrived})
		case e.Type == "Gap" && !r.history.wasDown(w.node, e.Arrived):
			r.history.Unheard = append(r.history.Unheard, Loss{w.node, e.Why})
		}
	}
}

// steps does the steps, round by round.
func (r *run) steps(ctx context.Context) error {
	for round := range max(1, r.scenario.Rounds) {
		for _, step := range r.scenario.Steps {
			if err := r.step(ctx, step); err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, step.Do, err)
			}
		}
	}
	return nil
}

func (r *run) step(ctx context.Context, s Step) error {
	switch s.When {
	case Known:
		r.awaitKnown(ctx)
	case Agreed:
		r.awaitAgreed(ctx)
	}
	if err := wait(ctx, s.After); err != nil || s.Do.Action == "" {
		return err
	}
	return r.do(ctx, s.Do.complete())
}

// do does one thing to the cluster, and opens or closes its window.
func (r *run) do(ctx context.Context, f Fault) error {
	if how, ended := r.cluster.Ending(f.Node); ended && f.ends() && !r.downByFault(f.Node) {
		r.history.Ends = append(r.history.Ends, End{f.Node, "ended by itself: " + how.String()})
	}
	begun := time.Now()
	if !f.Mends() { // before it is done: calls are overtaken by it
		r.history.Windows = append(r.history.Windows, Window{Fault: f, Begun: begun, From: begun, Observers: r.observers(f)})
	}
	at, err := f.apply(ctx, r.cluster)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	r.say("%s", f)
	r.judgeEnd(f)
	if f.Action == Freeze {
		r.frozen[f.Node] = true
	} else if f.ends() || f.Action == Thaw {
		delete(r.frozen, f.Node)
	}
	if !f.Mends() {
		r.newest().From, r.newest().Took = at, took
		return nil
	}
	for i := range r.history.Windows {
		if w := &r.history.Windows[i]; w.Mended.IsZero() && f.MendsWindow(w) {
			w.Mended = at
		}
	}
	return nil
}

// judgeEnd looks whether a node that was ended did so as it was asked to.
func (r *run) judgeEnd(f Fault) {
	if f.Action != Kill && f.Action != Leave {
		return
	}
	how, ended := r.cluster.Ending(f.Node)
	switch {
	case !ended:
		r.history.Ends = append(r.history.Ends, End{f.Node, fmt.Sprintf("did not end at %s", f)})
	case f.Action == Kill && how.Crashed(), f.Action == Leave && how != Ending{}:
		r.history.Ends = append(r.history.Ends, End{f.Node, fmt.Sprintf("did not end well at %s: %s", f, how)})
	}
}

// MendsWindow reports whether an action ends a window's fault. A new start of a
// node ends all that was done to the one before.
func (f Fault) MendsWindow(w *Window) bool {
	switch {
	case f.Action == Start:
		return f.Node == w.Fault.Node
	case f.Action == Thaw:
		return f.Node == w.Fault.Node && w.Fault.Action == Freeze
	default:
		return w.Fault.Link != Link{}
	}
}

func (r *run) newest() *Window { return &r.history.Windows[len(r.history.Windows)-1] }

// observers are the nodes that are to notice a fault: those that run, but the
// victim.
func (r *run) observers(f Fault) []string {
	return slices.DeleteFunc(Running(r.cluster), func(node string) bool { return node == f.Node || r.frozen[node] })
}

// awaitKnown waits until the observers of the newest fault were told of its
// victim. If they are not, that is for the objectives to tell.
func (r *run) awaitKnown(ctx context.Context) {
	if len(r.history.Windows) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.options.Patience)
	defer cancel()
	w := r.newest()
	for _, watch := range r.watches {
		if !slices.Contains(w.Observers, watch.node) {
			continue
		}
		e, err := watch.Wait(ctx, func(e Event) bool {
			return e.Subject == w.Fault.Node && (e.Type == "MemberFailed" || e.Type == "MemberLeft") && !e.Arrived.Before(w.Begun)
		})
		if err != nil {
			r.say("%s was not told of it: %s", watch.node, err)
			return
		}
		r.say("%s knows after %.0f ms: %s", watch.node, max(0, millis(e.Arrived.Sub(w.From))), e.Why)
	}
}

// awaitAgreed waits until all agree and closes the windows that were mended.
func (r *run) awaitAgreed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Patience)
	defer cancel()
	at, err := WaitAgreed(ctx, r.cluster, r.up()...)
	if err != nil {
		r.say("%s", err)
		return
	}
	for i := range r.history.Windows {
		if w := &r.history.Windows[i]; w.Over.IsZero() && !w.Mended.IsZero() {
			w.Over = at
			r.say("all agree again %.0f ms after %s was mended", millis(at.Sub(w.Mended)), w.Fault)
		}
	}
}

// settle reads what the nodes use after the run: what only waits to end must
// have ended, so it reads again while there is less each time.
func (r *run) settle(ctx context.Context) error {
	rest := r.history.Samples
	for before := math.Inf(1); ; {
		if err := wait(ctx, settleTime); err != nil {
			return err
		}
		r.history.Samples = slices.Clone(rest)
		r.sample(ctx, true)
		now := 0.0
		for _, s := range r.history.Samples {
			now += float64(s.Goroutines + s.OpenFiles)
		}
		if now >= before {
			return nil
		}
		before = now
	}
}

// up are the nodes that ought to run.
func (r *run) up() []string {
	return slices.DeleteFunc(r.cluster.Names(), r.downByFault)
}

// sample reads what every node uses that ought to run.
func (r *run) sample(ctx context.Context, after bool) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, node := range r.up() {
		if r.frozen[node] {
			continue
		}
		wg.Go(func() {
			s, err := r.used(ctx, node)
			if err != nil {
				r.say("what %s uses cannot be read: %s", node, err)
			}
			s.Node, s.Failed, s.After = node, err != nil, after
			mu.Lock()
			defer mu.Unlock()
			r.history.Samples = append(r.history.Samples, s)
		})
	}
	wg.Wait()
}

func (r *run) used(ctx context.Context, node string) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var info struct {
		Metrics struct {
			Goroutines int `json:"goroutines"`
			OpenFiles  int `json:"open_files"`
		} `json:"metrics"`
	}
	if err := Client(r.cluster, node).Call(ctx, "node.info", map[string]any{"node": node}, &info); err != nil {
		return Sample{}, err
	}
	memory, err := r.cluster.Memory(ctx, node)
	return Sample{At: time.Now(), Memory: memory, Goroutines: info.Metrics.Goroutines, OpenFiles: info.Metrics.OpenFiles}, err
}

// close ends the cluster and looks how the nodes ended.
func (r *run) close(ctx context.Context) error {
	for _, w := range r.watches {
		w.Close() // if the work was never finished
	}
	if ctx.Err() == nil {
		_, _ = r.cluster.Heal(ctx) // what cannot be healed ends with the nodes
		for node := range r.frozen {
			_, _ = r.cluster.Thaw(ctx, node)
		}
	}
	before := r.endings()
	err := r.cluster.Close()
	r.judgeEnds(before, r.endings())
	r.logs = map[string]string{} // of the newest cluster
	for _, node := range r.cluster.Names() {
		log, logErr := r.cluster.Log(context.WithoutCancel(ctx), node)
		if logErr != nil {
			r.history.Unread = append(r.history.Unread, Loss{node, fmt.Sprintf("its log cannot be read: %s", logErr)})
			continue
		}
		r.logs[node] = log
		for line := range strings.Lines(log) {
			if bad(line) {
				r.history.Ends = append(r.history.Ends, End{node, strings.TrimSpace(line)})
			}
		}
	}
	return err
}

func (r *run) endings() map[string]Ending {
	endings := map[string]Ending{}
	for _, node := range r.cluster.Names() {
		if e, ended := r.cluster.Ending(node); ended {
			endings[node] = e
		}
	}
	return endings
}

// judgeEnds finds the ends that nobody caused: of nodes that ought to have run
// to the end, and those whose end was not as asked for.
func (r *run) judgeEnds(before, after map[string]Ending) {
	for _, node := range r.cluster.Names() {
		early, ended := before[node]
		late, closed := after[node]
		switch {
		case ended && !r.downByFault(node):
			r.history.Ends = append(r.history.Ends, End{node, "ended by itself: " + early.String()})
		case !ended && !closed:
			r.history.Ends = append(r.history.Ends, End{node, "did not end when asked to"})
		case !ended && late != Ending{}:
			r.history.Ends = append(r.history.Ends, End{node, "did not end well when asked to: " + late.String()})
		}
	}
}

// downByFault reports whether a node was killed or left and not started again.
func (r *run) downByFault(node string) bool {
	down := false
	for _, w := range r.history.Windows {
		if w.Fault.Node == node && (w.Fault.Action == Kill || w.Fault.Action == Leave) {
			down = w.Mended.IsZero()
		}
	}
	return down
}

// bad finds the lines of a log that no node should write.
func bad(line string) bool {
	return strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") ||
		strings.Contains(line, "WARNING: DATA RACE") || strings.Contains(line, " panicked")
}

// report judges the objectives.
func (r *run) report(failure error) *Report {
	rep := &Report{
		Scenario: r.scenario.Name, About: r.scenario.About, Target: r.target, Nodes: r.options.Nodes,
		Began: r.began.UTC(), Took: time.Since(r.began), Ends: r.history.Ends,
		Unseen: slices.Concat(r.history.Unread, r.history.Unheard),
	}
	switch {
	case errors.Is(failure, context.Canceled):
		rep.Failure = "interrupted"
	case failure != nil:
		rep.Failure = failure.Error()
	}
	rep.Results = Judge(r.scenario, r.target, &r.history)
	rep.FailedCalls = r.failedCalls()
	for _, w := range r.history.Windows {
		rep.Faults = append(rep.Faults, FaultReport{
			Fault: w.Fault.String(), AtMS: millis(w.From.Sub(r.began)), CallMS: millis(w.Took), Told: r.told(w),
		})
	}
	if !rep.Passed() && r.options.LogDir != "" {
		rep.Logs = r.writeLogs()
	}
	return rep
}

// told says what the observers were told of a fault.
func (r *run) told(w Window) []string {
	var told []string
	for _, s := range r.history.Sightings {
		if s.Subject == w.Fault.Node && slices.Contains(w.Observers, s.Observer) && w.overlaps(s.At, s.At) {
			told = append(told, fmt.Sprintf("%s after %.0f ms: %s, %s", s.Observer, max(0, millis(s.At.Sub(w.From))), s.Type, s.Why))
		}
	}
	return told
}

// maxFailedCalls is how many failed calls a report tells one by one.
const maxFailedCalls = 20

// failedCalls tells the first calls to live nodes that failed.
func (r *run) failedCalls() []string {
	var failed []string
	for _, c := range r.history.Calls {
		if c.Kind == "" || r.history.group(c) == ToVictim || len(failed) == maxFailedCalls {
			continue
		}
		failed = append(failed, fmt.Sprintf("%s by way of %s to %s at %.0f ms after %.0f ms (definite: %t)",
			c.Kind, c.Caller, c.Callee, millis(c.At.Sub(r.began)), millis(c.Took), c.Definite))
	}
	return failed
}

// writeLogs writes what the nodes logged, and the events they told, a JSON text
// a line; it returns the files.
func (r *run) writeLogs() []string {
	prefix := fmt.Sprintf("%s-%s-", r.target, r.scenario.Name)
	if r.options.Run > 0 {
		prefix += fmt.Sprintf("%d-", r.options.Run)
	}
	content := map[string]string{}
	for _, node := range r.history.Nodes {
		content[node+".log"] = r.logs[node]
	}
	for _, w := range r.watches {
		var lines strings.Builder
		for _, e := range w.Events() {
			raw, _ := json.Marshal(e) // texts, and JSON as it came
			lines.Write(append(raw, '\n'))
		}
		content[w.node+".events"] = lines.String()
	}
	var files []string
	for _, name := range slices.Sorted(maps.Keys(content)) {
		file := filepath.Join(r.options.LogDir, prefix+name)
		err := os.MkdirAll(r.options.LogDir, 0o755)
		if err == nil {
			err = os.WriteFile(file, []byte(content[name]), 0o644)
		}
		if err != nil {
			r.say("%s cannot be written: %s", file, err)
			continue
		}
		files = append(files, file)
	}
	return files
}
