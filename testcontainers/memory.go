package testcontainers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/glassbox-dev/glassbox/harness"
)

// Memory reads a node's resident memory: VmRSS of its process where that can be
// seen from here, otherwise as the node itself says. And what the container is
// charged with, as `docker stats` tells it.
func (c *Containers) Memory(ctx context.Context, node string) (harness.Memory, error) {
	n, life, err := c.living(node)
	if err != nil {
		return harness.Memory{}, err
	}
	state, err := c.look(ctx, n, life)
	if err != nil {
		return harness.Memory{}, err
	}
	var m harness.Memory
	if isContainer(state.Pid, n.container.GetContainerID()) {
		m.RSS, err = harness.RSS(state.Pid)
	} else {
		m.RSS, err = c.ownRSS(ctx, node)
	}
	if err != nil {
		return m, fmt.Errorf("resident memory of %s: %w", node, err)
	}
	m.Charged, err = c.charged(ctx, n)
	return m, err
}

// isContainer reports whether a process here is that of a container. The
// engine's pids are another machine's, or those outside the container we are in,
// unless the process's cgroup says otherwise.
func isContainer(pid int, id string) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && bytes.Contains(raw, []byte(id))
}

// ownRSS asks the node.
func (c *Containers) ownRSS(ctx context.Context, node string) (int64, error) {
	var info struct {
		Metrics struct {
			RSS int64 `json:"rss_bytes"`
		} `json:"metrics"`
	}
	err := harness.Client(c, node).Call(ctx, "node.info", map[string]any{"node": node}, &info)
	return info.Metrics.RSS, err
}

// charged is the container's memory without the pages of files that nobody has
// used lately, which the kernel would give back.
func (c *Containers) charged(ctx context.Context, n *node) (int64, error) {
	answer, err := c.engine.api.ContainerStats(ctx, n.container.GetContainerID(), client.ContainerStatsOptions{})
	if err != nil {
		return 0, fmt.Errorf("what %s is charged with: %w", n.name, err)
	}
	defer answer.Body.Close()
	var stats container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&stats); err != nil {
		return 0, fmt.Errorf("what %s is charged with: %w", n.name, err)
	}
	idle, v1 := stats.MemoryStats.Stats["total_inactive_file"]
	if !v1 {
		idle = stats.MemoryStats.Stats["inactive_file"]
	}
	return int64(stats.MemoryStats.Usage - min(idle, stats.MemoryStats.Usage)), nil
}
