package testcontainers

import (
	"bytes"
	"context"
	"fmt"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// Log returns what a node has logged, of all its incarnations.
func (c *Containers) Log(ctx context.Context, node string) (string, error) {
	n, err := c.on(node)
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	kept := n.log
	n.mu.Unlock()
	if kept != nil {
		return *kept, nil
	}
	return c.readLog(ctx, n)
}

// readLog reads the engine's record. It does not follow it, as the library's
// consumers of logs do, which lose lines.
func (c *Containers) readLog(ctx context.Context, n *node) (string, error) {
	record, err := c.engine.api.ContainerLogs(ctx, n.container.GetContainerID(), client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", fmt.Errorf("the log of %s: %w", n.name, err)
	}
	defer record.Close()
	var log bytes.Buffer
	if _, err := stdcopy.StdCopy(&log, &log, record); err != nil {
		return "", fmt.Errorf("the log of %s: %w", n.name, err)
	}
	return log.String(), nil
}
