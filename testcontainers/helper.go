package testcontainers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	tc "github.com/testcontainers/testcontainers-go"

	"github.com/glassbox-dev/glassbox/testcontainers/internal/netfault"
)

// helper is a container beside a node's that shares its network and may change
// it, as the node may not. It lives as long as that network: a change by it
// takes a millisecond, by one started for the change a few hundred.
type helper struct {
	container tc.Container
	attached  client.HijackedResponse
	answers   *json.Decoder
	output    *io.PipeReader
	stderr    *strings.Builder
	ended     chan struct{} // nobody writes to stderr any more
}

func (c *Containers) startHelper(ctx context.Context, n *node) (*helper, error) {
	n.faults.helpers++
	ctr, err := c.engine.provider.CreateContainer(ctx, tc.ContainerRequest{
		// Numbered: the engine may still make one that was given up.
		Image: c.image, Name: fmt.Sprintf("%s-netfault-%d", c.containerName(n), n.faults.helpers),
		Labels: c.labels(), Entrypoint: []string{helperFile},
		ConfigModifier: func(config *container.Config) {
			config.OpenStdin, config.StdinOnce = true, true // it ends with whoever is attached
			config.AttachStdin, config.AttachStdout, config.AttachStderr = true, true, true
		},
		HostConfigModifier: func(host *container.HostConfig) {
			host.NetworkMode = container.NetworkMode("container:" + n.container.GetContainerID())
			host.CapAdd = []string{"NET_ADMIN"}
		},
	})
	if err != nil {
		c.giveUp()
		return nil, fmt.Errorf("create the helper: %w", err)
	}
	attached, err := c.engine.api.ContainerAttach(ctx, ctr.GetContainerID(), client.ContainerAttachOptions{
		Stream: true, Stdin: true, Stdout: true, Stderr: true,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach to the helper: %w", err), remove(ctx, ctr))
	}
	h := newHelper(ctr, attached.HijackedResponse)
	if err := ctr.Start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the helper: %w", err), h.remove(ctx))
	}
	return h, nil
}

func newHelper(ctr tc.Container, attached client.HijackedResponse) *helper {
	output, stdout := io.Pipe()
	h := &helper{
		container: ctr, attached: attached, output: output, answers: json.NewDecoder(output),
		stderr: &strings.Builder{}, ended: make(chan struct{}),
	}
	go func() {
		defer close(h.ended)
		_, err := stdcopy.StdCopy(stdout, h.stderr, attached.Reader)
		stdout.CloseWithError(err) // nil is io.EOF
	}()
	return h
}

// set puts rules into force and returns when they are, or why they cannot be.
// After an error it is not known which are, and the helper is of no use; nor is
// it when ctx has ended. One call at a time.
func (h *helper) set(ctx context.Context, rules []netfault.Rule) (problem string, err error) {
	stop := context.AfterFunc(ctx, h.attached.Close) // ends the exchange
	defer stop()
	if err := json.NewEncoder(h.attached.Conn).Encode(rules); err != nil {
		return "", fmt.Errorf("tell the helper: %w", err)
	}
	if err := h.answers.Decode(&problem); err != nil {
		h.close()
		return "", fmt.Errorf("the helper did not answer: %w %s", errors.Join(ctx.Err(), err), h.stderr)
	}
	return problem, nil
}

// close ends the helper's input, upon which it ends.
func (h *helper) close() {
	h.attached.Close()
	h.output.Close()
	<-h.ended
}

// remove ends the helper. The rules it has set stay.
func (h *helper) remove(ctx context.Context) error {
	h.close()
	return remove(ctx, h.container)
}
