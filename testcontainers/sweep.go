package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"
)

// A request that was on its way when whoever made it died or gave it up can
// still make something: for so long nothing must be found.
const (
	sweepQuiet = 2 * time.Second
	sweepEvery = 250 * time.Millisecond
)

// sweepAll removes what has a label, and that value of it, until there is
// nothing for a while. What could not be removed is tried again until ctx ends.
func sweepAll(ctx context.Context, api client.APIClient, label, value string) error {
	for quiet := time.Now(); ; {
		removed, err := sweep(ctx, api, label, value)
		switch {
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), err)
		case removed > 0 || err != nil:
			quiet = time.Now()
		case time.Since(quiet) > sweepQuiet:
			return nil
		}
		select {
		case <-time.After(sweepEvery):
		case <-ctx.Done():
		}
	}
}

// sweep removes all containers and networks with a label, and that value of it,
// and says how many there were.
func sweep(ctx context.Context, api client.APIClient, label, value string) (int, error) {
	containers, networks, err := labelled(ctx, api, label, value)
	if err != nil {
		return 0, err
	}
	var all errgroup.Group // at once: each takes the engine a while
	for _, id := range containers {
		all.Go(func() error {
			_, err := api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			return err
		})
	}
	err = all.Wait()
	for _, id := range networks { // after what is connected to them
		_, removeErr := api.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
		err = errors.Join(err, removeErr)
	}
	return len(containers) + len(networks), err
}

// labelled lists the containers and networks with a label, and that value of it.
func labelled(ctx context.Context, api client.APIClient, label, value string) (containers, networks []string, err error) {
	filter := make(client.Filters).Add("label", label+"="+value)
	c, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filter})
	if err != nil {
		return nil, nil, fmt.Errorf("list containers: %w", err)
	}
	for _, item := range c.Items {
		containers = append(containers, item.ID)
	}
	n, err := api.NetworkList(ctx, client.NetworkListOptions{Filters: filter})
	if err != nil {
		return nil, nil, fmt.Errorf("list networks: %w", err)
	}
	for _, item := range n.Items {
		networks = append(networks, item.ID)
	}
	return containers, networks, nil
}
