package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/server/client"
)

// clientFlags say which node to ask, and how to show the answer.
type clientFlags struct {
	addr      string
	tokenFile string
	timeout   time.Duration
	flags     *pflag.FlagSet
}

// defaultAddr is where a node listens that was told nothing else.
const defaultAddr = "127.0.0.1:4000"

// dialTimeout is how long one of several addresses may take to accept.
const dialTimeout = 500 * time.Millisecond

func (f *clientFlags) register(a *app, flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.addr, "addr", "", "address of a node's HTTP; without it the cluster that \"glassbox dev\" runs, or "+defaultAddr)
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the API's token")
	flags.StringVarP(&a.output, "output", "o", "table", "table or json")
	flags.DurationVar(&f.timeout, "timeout", 0, "how long to wait for the answer; 0 is the operation's own default")
}

// check completes the flags from the environment.
func (f *clientFlags) check(a *app) error {
	if _, err := fromEnvironment(f.flags, a.getenv, "addr", "token-file", "output", "timeout"); err != nil {
		return err
	}
	if a.output != "table" && a.output != "json" {
		output := a.output
		a.output = "table"
		return errs.BadParam("output", "table or json, not %q", output)
	}
	if f.timeout < 0 {
		return errs.BadParam("timeout", "0 or more, not %s", f.timeout)
	}
	return nil
}

// remote returns a client of a node: the one that was named, otherwise the
// first of the running dev cluster that accepts.
func (a *app) remote(ctx context.Context) (*client.Client, error) {
	c := &client.Client{Addr: a.client.addr}
	if a.client.tokenFile != "" {
		raw, err := os.ReadFile(a.client.tokenFile)
		if err != nil {
			return nil, errs.Wrap(errs.BadParameter, err, "the token cannot be read")
		}
		c.Token = strings.TrimSpace(string(raw))
	}
	if c.Addr == "" {
		c.Addr = firstAccepting(ctx, a.knownAddrs())
	}
	return c, nil
}

// knownAddrs are the addresses of the dev cluster, if one runs.
func (a *app) knownAddrs() []string {
	if known, err := readContext(a.contextPath()); err == nil && len(known.Addrs) > 0 {
		return known.Addrs
	}
	return []string{defaultAddr}
}

// firstAccepting returns the first address somebody listens at, the first of
// all if nobody does.
func firstAccepting(ctx context.Context, addrs []string) string {
	if len(addrs) == 1 {
		return addrs[0]
	}
	d := net.Dialer{Timeout: dialTimeout}
	for _, addr := range addrs {
		if conn, err := d.DialContext(ctx, "tcp", addr); err == nil {
			_ = conn.Close() // it was only to see
			return addr
		}
	}
	return addrs[0]
}

// ask runs an operation on the node that a.remote finds.
func (a *app) ask(ctx context.Context, method string, params map[string]json.RawMessage) (json.RawMessage, error) {
	c, err := a.remote(ctx)
	if err != nil {
		return nil, err
	}
	if params == nil {
		params = map[string]json.RawMessage{}
	}
	if a.client.timeout > 0 {
		params["timeout_ms"], err = json.Marshal(max(1, a.client.timeout.Milliseconds()))
		if err != nil {
			return nil, err
		}
	}
	// The deadline is the node's to keep; this one is for a node that keeps
	// none, being frozen.
	ctx, cancel := context.WithTimeout(ctx, a.patience(method))
	defer cancel()
	var result json.RawMessage
	err = c.Call(ctx, method, params, &result)
	return result, err
}

// patience is a little more than the node takes at most.
func (a *app) patience(method string) time.Duration {
	const margin = 250 * time.Millisecond
	if a.client.timeout > 0 {
		return a.client.timeout + margin
	}
	return defaultTimeout(method) + margin
}
