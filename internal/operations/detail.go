package operations

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/memdb"
)

// Bounds of asking for details: so many at once, each for so long, so that a slow
// node holds up neither the others nor the list.
const (
	detailCallers = 16
	detailTime    = time.Second
)

// detail completes running workers by what their nodes know of them, and returns
// which nodes did not answer. A process that has ended meanwhile stays as it was.
func (d Deps) detail(ctx context.Context, list []Process) []op.NodeError {
	ctx, cancel := context.WithTimeout(ctx, detailTime)
	defer cancel()
	var mu sync.Mutex
	failed := map[string]op.NodeError{}
	var tasks sync.WaitGroup
	places := make(chan struct{}, detailCallers)
	for i := range list {
		if list[i].Type != memdb.Worker || list[i].Ended() {
			continue
		}
		places <- struct{}{}
		tasks.Go(func() {
			defer func() { <-places }()
			if err := d.detailOf(ctx, &list[i]); err != nil {
				mu.Lock()
				failed[list[i].Node] = op.NodeError{Node: list[i].Node, Kind: errs.KindOf(err), Message: err.Error()}
				mu.Unlock()
			}
		})
	}
	tasks.Wait()
	var all []op.NodeError
	for _, e := range failed {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b op.NodeError) int { return strings.Compare(a.Node, b.Node) })
	return all
}

func (d Deps) detailOf(ctx context.Context, p *Process) error {
	params, err := jsontext.Marshal(ProcessParams{p.PID})
	if err != nil {
		return err
	}
	raw, err := d.Table().Invoke(ctx, op.Request{Method: "process.info", Params: params, Caller: op.CallerFrom(ctx)})
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	var info ProcessInfo
	if err := json.Unmarshal(raw, &info); err != nil {
		return errs.Wrap(errs.Internal, err, "what node %s says of a process cannot be read", p.Node)
	}
	p.Stats = info.Stats
	return nil
}
