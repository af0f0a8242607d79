package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/client"
)

// errNoEngine: there is none here that this process can use.
var errNoEngine = errors.New("no Docker engine")

// findEngine finds an engine that answers: the one that DOCKER_HOST names,
// otherwise that at the default socket, otherwise one that runs without root.
// The library is told where, by DOCKER_HOST.
func findEngine(ctx context.Context) (*client.Client, error) {
	api, err := ask(ctx, client.FromEnv)
	if err == nil || os.Getenv(client.EnvOverrideHost) != "" {
		return api, err
	}
	for _, socket := range rootlessSockets() {
		host := "unix://" + socket
		if api, err := ask(ctx, client.WithHost(host)); err == nil {
			os.Setenv(client.EnvOverrideHost, host)
			return api, nil
		}
	}
	return nil, err
}

// rootlessSockets are those of engines that run without root, and of Docker
// Desktop.
func rootlessSockets() []string {
	var list []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		list = append(list, filepath.Join(dir, "docker.sock"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		list = append(list, filepath.Join(home, ".docker", "run", "docker.sock"))
	}
	return list
}

// ask connects to an engine, which must answer.
func ask(ctx context.Context, where ...client.Opt) (*client.Client, error) {
	api, err := client.New(where...)
	if err != nil {
		return nil, fmt.Errorf("connect to the Docker engine: %w", err)
	}
	if _, err := api.Ping(ctx, client.PingOptions{}); err != nil {
		return nil, errors.Join(noAnswer(api.DaemonHost(), err), api.Close())
	}
	return api, nil
}

// noAnswer says in one sentence why an engine did not answer, and what to do.
func noAnswer(host string, err error) error {
	const orSay = "or say in DOCKER_HOST where another one is"
	switch {
	case client.IsErrConnectionFailed(err) && strings.Contains(err.Error(), "permission denied"):
		return fmt.Errorf("%w: there is one at %s, but no permission to use it; become a member of the group of that socket, mostly docker, %s", errNoEngine, host, orSay)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no socket at %s; start an engine, %s", errNoEngine, host, orSay)
	case client.IsErrConnectionFailed(err) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: nobody answers at %s; start an engine there, %s", errNoEngine, host, orSay)
	default:
		return fmt.Errorf("ask the Docker engine at %s: %w", host, err)
	}
}
