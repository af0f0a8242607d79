package harness

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// calling makes the calls of a workload and records them.
type calling struct {
	cluster Cluster
	what    Calls
	http    *http.Client

	mu    sync.Mutex
	calls []Call
}

func newCalling(c Cluster, what Calls) *calling {
	return &calling{cluster: c, what: what, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}}
}

// run calls until ctx ends: by way of each node, all others in turn.
func (w *calling) run(ctx context.Context) {
	defer w.http.CloseIdleConnections()
	var wg sync.WaitGroup
	all := w.cluster.Names()
	for i, caller := range all {
		callees := append(append([]string{}, all[i+1:]...), all[:i]...)
		wg.Go(func() { w.callEvery(ctx, caller, callees) })
	}
	wg.Wait()
}

// callEvery starts a call at each tick, whether the one before has been answered
// or not: a slow node must not make fewer calls fail.
func (w *calling) callEvery(ctx context.Context, caller string, callees []string) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(w.what.Every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		callee := callees[n%len(callees)]
		wg.Go(func() { w.call(caller, callee) })
	}
}

// margin is how much longer than the call's own timeout its answer is waited for.
const margin = 500 * time.Millisecond

// call makes one call. It is not ended with the workload: a call that was begun
// is one that counts.
func (w *calling) call(caller, callee string) {
	ctx, cancel := context.WithTimeout(context.Background(), w.what.Timeout+margin)
	defer cancel()
	c := Client(w.cluster, caller)
	c.HTTP = w.http
	at := time.Now()
	err := c.Call(ctx, "node.ping", map[string]any{"node": callee, "timeout_ms": w.what.Timeout.Milliseconds()}, nil)
	made := Call{Caller: caller, Callee: callee, At: at, Took: time.Since(at)}
	if err != nil {
		made.Kind, made.Definite = string(errs.KindOf(err)), definite(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, made)
}

func definite(err error) bool {
	var e *errs.Error
	return errors.As(err, &e) && e.Definite()
}

// made returns the calls made so far.
func (w *calling) made() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[:len(w.calls):len(w.calls)]
}
