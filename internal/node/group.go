package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// group runs services that end with one context. The first that ends before
// that tells why, and the others go on until the context ends.
type group struct {
	ctx    context.Context
	failed func(error)
	wg     sync.WaitGroup

	mu  sync.Mutex
	err error
}

func newGroup(ctx context.Context, failed func(error)) *group {
	return &group{ctx: ctx, failed: failed}
}

// Go starts a service; what it returns ends that one alone.
func (g *group) Go(name string, serve func(context.Context) error) (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(g.ctx)
	g.wg.Go(func() {
		defer stop()
		err := serve(ctx)
		switch {
		case err != nil && !errors.Is(err, context.Canceled):
			err = fmt.Errorf("%s: %w", name, err)
		case ctx.Err() == nil:
			err = fmt.Errorf("%s ended by itself", name)
		default:
			return
		}
		g.mu.Lock()
		g.err = errors.Join(g.err, err)
		g.mu.Unlock()
		g.failed(err)
	})
	return stop
}

// Wait returns when all services have ended, with what went wrong.
func (g *group) Wait() error {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}
