package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	tc "github.com/testcontainers/testcontainers-go"
)

// closeTimeout bounds the end of a cluster: a stop, and some patience with the
// engine. removeTimeout is the patience for one removal.
const (
	closeTimeout  = stopTimeout + 45*time.Second
	removeTimeout = 30 * time.Second
)

// Close ends everything: nodes that run are asked to leave first, their logs are
// kept, and the containers and the network are removed. Ending and Log still
// answer afterwards.
func (c *Containers) Close() error { return c.close() }

// end is Close, once. What fails does not keep the rest from being removed.
func (c *Containers) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := c.forAll(func(n *node) error { return c.endNode(ctx, n) })
	c.unwatch()
	c.watches.Wait()
	if c.network != nil {
		err = errors.Join(err, c.network.Remove(ctx))
	}
	if c.gaveUp.Load() { // the engine may go on with what we gave up: we never knew of it
		return errors.Join(err, sweepAll(ctx, c.engine.api, clusterLabel, c.id))
	}
	_, sweepErr := sweep(ctx, c.engine.api, clusterLabel, c.id)
	return errors.Join(err, sweepErr)
}

// giveUp notes that something was given up that the engine may still make.
func (c *Containers) giveUp() {
	c.gaveUp.Store(true)
	c.engine.gaveUp.Store(true)
}

func (c *Containers) endNode(ctx context.Context, n *node) error {
	if n.container == nil { // it could not be created
		return nil
	}
	err := errors.Join(c.Stop(ctx, n.name), c.forgetFaults(ctx, n), c.keepLog(ctx, n))
	return errors.Join(err, remove(ctx, n.container))
}

// remove removes a container by the library, which then also lets go of it;
// also when ctx has ended.
func remove(ctx context.Context, ctr tc.Container) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	return ctr.Terminate(ctx, tc.StopContext(ctx), tc.StopTimeout(0))
}

// keepLog reads a node's log for the last time.
func (c *Containers) keepLog(ctx context.Context, n *node) error {
	log, err := c.readLog(ctx, n)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.log = &log
	n.mu.Unlock()
	if c.opts.Dir == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(c.opts.Dir, n.name+".log"), []byte(log), 0o644); err != nil {
		return fmt.Errorf("keep the log of %s: %w", n.name, err)
	}
	return nil
}
