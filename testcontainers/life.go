package testcontainers

import (
	"context"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/glassbox-dev/glassbox/harness"
)

// Start starts a node that does not run: the same container again, a new
// incarnation of the node. What was broken of its links is whole, and it is in
// the network again.
func (c *Containers) Start(ctx context.Context, node string) error {
	n, err := c.on(node)
	if err != nil {
		return err
	}
	giveBack, err := n.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer giveBack()
	if _, running := n.running(); running {
		return fmt.Errorf("start %s: it runs already", node)
	}
	if err := n.dropFaults(ctx); err != nil { // of the network it had
		return err
	}
	if err := c.rejoin(ctx, n); err != nil {
		return err
	}
	return c.run(ctx, n)
}

// living finds a node that runs.
func (c *Containers) living(node string) (n *node, life int, err error) {
	if n, err = c.on(node); err != nil {
		return nil, 0, err
	}
	life, running := n.running()
	if !running {
		return nil, 0, fmt.Errorf("%s does not run; Start starts it", node)
	}
	return n, life, nil
}

// Stop asks a node to leave and returns when its process has ended; after 15 s
// the engine kills it, which is an error. A process that has ended already is
// none.
func (c *Containers) Stop(ctx context.Context, node string) error {
	n, err := c.on(node)
	if err != nil {
		return err
	}
	life, running := n.running()
	if !running {
		return nil
	}
	state, err := c.look(ctx, n, life)
	if err != nil {
		return err
	}
	if state.Paused {
		if _, err := c.Thaw(ctx, node); err != nil {
			return err
		}
	}
	timeout, asked := stopTimeout, time.Now()
	if err := n.container.Stop(ctx, &timeout); err != nil {
		return fmt.Errorf("stop %s: %w", node, err)
	}
	if state, err = c.look(ctx, n, life); err != nil {
		return err
	}
	if state.ExitCode == killedCode && !n.wasKilled() {
		return fmt.Errorf("%s %s", node, whyKilled(state, time.Since(asked)))
	}
	return nil
}

// whyKilled is why a node was killed that was asked to leave, which took so
// long.
func whyKilled(s *container.State, took time.Duration) string {
	switch {
	case s.OOMKilled:
		return "ran out of memory and was killed"
	case took < stopTimeout:
		return "was killed by somebody else while it left"
	default:
		return fmt.Sprintf("did not end within %s and was killed", stopTimeout)
	}
}

func (n *node) wasKilled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.killed
}

// Kill ends a node by SIGKILL and returns when it ended, as the engine reports:
// by the engine's record if its clock is ours, otherwise when it answered.
func (c *Containers) Kill(ctx context.Context, node string) (time.Time, error) {
	asked := time.Now()
	n, life, err := c.living(node)
	if err != nil {
		return asked, err
	}
	n.mu.Lock()
	n.killed = true // before it is: what watches it must know
	n.mu.Unlock()
	if _, err := c.engine.api.ContainerKill(ctx, n.container.GetContainerID(), client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		return asked, fmt.Errorf("kill %s: %w", node, err)
	}
	answered := time.Now()
	state, err := c.look(ctx, n, life)
	if err != nil {
		return answered, err
	}
	if state.Running { // the engine answers when it has ended, or after 10 s
		return answered, fmt.Errorf("kill %s: the engine could not end it", node)
	}
	return c.engine.reported(state.FinishedAt, asked, answered), nil
}

// Freeze stops all of a node's processes without ending them, and returns the
// last moment at which it was seen to live: the engine takes its time.
func (c *Containers) Freeze(ctx context.Context, node string) (time.Time, error) {
	n, _, err := c.living(node)
	if err != nil {
		return time.Now(), err
	}
	return c.lastSeen(ctx, node, func() error {
		if _, err := c.engine.api.ContainerPause(ctx, n.container.GetContainerID(), client.ContainerPauseOptions{}); err != nil {
			return fmt.Errorf("freeze %s: %w", node, err)
		}
		return nil
	})
}

// Thaw lets a frozen node go on.
func (c *Containers) Thaw(ctx context.Context, node string) (time.Time, error) {
	now := time.Now()
	n, _, err := c.living(node)
	if err != nil {
		return now, err
	}
	if _, err := c.engine.api.ContainerUnpause(ctx, n.container.GetContainerID(), client.ContainerUnpauseOptions{}); err != nil {
		return now, fmt.Errorf("thaw %s: %w", node, err)
	}
	return now, nil
}

// lastSeen does what makes a node silent, and asks it for signs of life
// meanwhile. It returns when the last question was asked that it answered: until
// then it certainly was not silent.
func (c *Containers) lastSeen(ctx context.Context, node string, silence func() error) (time.Time, error) {
	last := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer cancel() // also of a question that will not be answered
		done <- silence()
	}()
	for {
		asked := time.Now()
		if harness.Client(c, node).Live(ctx) == nil {
			last = asked
		}
		select {
		case err := <-done:
			return last, err
		case <-time.After(seenEvery):
		}
	}
}

// seenEvery is the pause between two questions for signs of life.
const seenEvery = time.Millisecond
