package harness

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/glassbox-dev/glassbox/server/client"
)

// Client returns a client of a node's API. Its address is that of this moment.
func Client(c Cluster, node string) *client.Client {
	cl := &client.Client{Addr: c.HTTP(node)}
	if t, ok := c.(tokened); ok {
		cl.Token = t.Token()
	}
	return cl
}

// tokened is a cluster whose nodes demand a token of their clients.
type tokened interface{ Token() string }

// Status is what a node says of its cluster: the part that measuring needs.
type Status struct {
	Ready bool     `json:"ready"`
	Alive int      `json:"alive"`
	Nodes []Member `json:"nodes"`
}

// Member is one node as another one sees it.
type Member struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Reach string `json:"reach"`
	Why   string `json:"why"`
}

// statusTimeout bounds one look: a node that is frozen answers nothing.
const statusTimeout = 500 * time.Millisecond

// StatusOf asks a node how it sees the cluster.
func StatusOf(ctx context.Context, c Cluster, node string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var s Status
	err := Client(c, node).Call(ctx, "cluster.status", nil, &s)
	return s, err
}

// Running lists the nodes whose process runs.
func Running(c Cluster) []string {
	var running []string
	for _, node := range c.Names() {
		if _, ended := c.Ending(node); !ended {
			running = append(running, node)
		}
	}
	return running
}

// pollEvery is the step of all polling: finer than every figure it serves.
const pollEvery = 2 * time.Millisecond

// poll calls f until it says that it is done or ctx ends; the error tells what
// f said last.
func poll(ctx context.Context, f func() (done bool, state string)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		done, state := f()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last seen: %s", ctx.Err(), state)
		case <-tick.C:
		}
	}
}

// agrees says whether a node has joined, sees all of these alive, and reaches
// them itself; if not, what it sees.
func agrees(ctx context.Context, c Cluster, node string, running []string) (bool, string) {
	s, err := StatusOf(ctx, c, node)
	if err != nil {
		return false, err.Error()
	}
	direct := 0
	for _, m := range s.Nodes {
		if m.State == "alive" && m.Reach == "direct" {
			direct++
		}
	}
	return s.Ready && direct == len(running), fmt.Sprintf("%s sees %+v", node, s.Nodes)
}

// WaitJoined waits until each running node has joined and sees all running
// nodes alive, and returns when each was first seen to. On error the map has
// those that were.
func WaitJoined(ctx context.Context, c Cluster) (map[string]time.Time, error) {
	running := Running(c)
	joined := map[string]time.Time{}
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	for _, node := range running {
		wg.Go(func() {
			err := poll(ctx, func() (bool, string) { return agrees(ctx, c, node, running) })
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				joined[node] = time.Now()
			} else if first == nil {
				first = fmt.Errorf("%s has not joined: %w", node, err)
			}
		})
	}
	wg.Wait()
	return joined, first
}

// WaitAgreed waits until all running nodes, asked at the same moment, see all
// running nodes alive and reach them, and returns when that was.
func WaitAgreed(ctx context.Context, c Cluster) (time.Time, error) {
	err := poll(ctx, func() (bool, string) { return agree(ctx, c) })
	if err != nil {
		return time.Time{}, fmt.Errorf("the nodes do not agree: %w", err)
	}
	return time.Now(), nil
}

// agree asks all running nodes at once.
func agree(ctx context.Context, c Cluster) (all bool, state string) {
	running := Running(c)
	states := make([]string, len(running))
	var wg sync.WaitGroup
	for i, node := range running {
		wg.Go(func() {
			if ok, state := agrees(ctx, c, node, running); !ok {
				states[i] = state
			}
		})
	}
	wg.Wait()
	for _, state := range states {
		if state != "" {
			return false, state
		}
	}
	return true, ""
}
