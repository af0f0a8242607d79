package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	Node  string   `json:"node"` // who says so
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

// poll calls f until it says that it is done, fails or ctx ends; then the error
// tells what f said last.
func poll(ctx context.Context, f func() (done bool, state string, err error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for last := ""; ; {
		done, state, err := f()
		if done || err != nil {
			return err
		}
		if ctx.Err() == nil || last == "" { // else it only says that ctx ended
			last = state
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last seen: %s", ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// agrees says whether a node has joined, sees exactly these alive, and reaches
// them itself; if not, what it sees. It fails if the node's process has ended.
func agrees(ctx context.Context, c Cluster, node string, all []string) (bool, string, error) {
	s, err := StatusOf(ctx, c, node)
	if how, ended := c.Ending(node); ended { // looked at after: who has answered may be another
		return false, "", endedEarly(ctx, c, node, how)
	}
	if err != nil {
		return false, err.Error(), nil
	}
	if s.Node != node {
		return false, fmt.Sprintf("%q answers at the address of %s", s.Node, node), nil
	}
	var direct []string
	for _, m := range s.Nodes {
		if m.State == "alive" && m.Reach == "direct" {
			direct = append(direct, m.Name)
		}
	}
	slices.Sort(direct)
	return s.Ready && slices.Equal(direct, all), fmt.Sprintf("%s sees %+v", node, s.Nodes), nil
}

// endedEarly says how a node ended that was to live, and its last words.
func endedEarly(ctx context.Context, c Cluster, node string, how Ending) error {
	log, err := c.Log(ctx, node)
	if err != nil {
		log = fmt.Sprintf("(its log cannot be read: %s)", err)
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return fmt.Errorf("the process of %s has ended, %s; its last words: %s", node, how, lines[len(lines)-1])
}

// expected are the nodes that are waited for, sorted: all, if none is named.
func expected(c Cluster, nodes []string) []string {
	if len(nodes) == 0 {
		nodes = c.Names()
	}
	return slices.Sorted(slices.Values(nodes))
}

// WaitJoined waits until each of the nodes, all if none is named, has joined and
// sees exactly these alive, and returns when each was first seen to. It fails at
// once when the process of one has ended. On error the map has those that had
// joined.
func WaitJoined(ctx context.Context, c Cluster, nodes ...string) (map[string]time.Time, error) {
	all := expected(c, nodes)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	joined := map[string]time.Time{}
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	for _, node := range all {
		wg.Go(func() {
			err := poll(ctx, func() (bool, string, error) { return agrees(ctx, c, node, all) })
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				joined[node] = time.Now()
			} else if first == nil {
				first = fmt.Errorf("%s has not joined: %w", node, err)
				cancel()
			}
		})
	}
	wg.Wait()
	return joined, first
}

// WaitAgreed waits until the nodes, all if none is named, asked at the same
// moment, see exactly these alive and reach them, and returns when that was. It
// fails at once when the process of one has ended.
func WaitAgreed(ctx context.Context, c Cluster, nodes ...string) (time.Time, error) {
	all := expected(c, nodes)
	err := poll(ctx, func() (bool, string, error) { return agree(ctx, c, all) })
	if err != nil {
		return time.Time{}, fmt.Errorf("the nodes do not agree: %w", err)
	}
	return time.Now(), nil
}

// agree asks all of these nodes at once.
func agree(ctx context.Context, c Cluster, all []string) (agreed bool, state string, err error) {
	states, errs := make([]string, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	for i, node := range all {
		wg.Go(func() {
			var ok bool
			if ok, states[i], errs[i] = agrees(ctx, c, node, all); ok {
				states[i] = ""
			}
		})
	}
	wg.Wait()
	for _, s := range states {
		if s != "" {
			state = s
		}
	}
	return state == "", state, errors.Join(errs...)
}
