package main

import (
	"context"
	"encoding/json"
	"os"
	"slices"
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
	wide      bool
	flags     *pflag.FlagSet
}

// defaultAddr is where a node listens that was told nothing else.
const defaultAddr = "127.0.0.1:4000"

// liveTimeout is how long one of several nodes may take to show that it lives.
const liveTimeout = 500 * time.Millisecond

func (f *clientFlags) register(a *app, flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.addr, "addr", "", "address of a node's HTTP; without it the newest cluster that \"glassbox dev\" runs, or "+defaultAddr)
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the API's token")
	flags.StringVarP(&a.output, "output", "o", "table", "table or json")
	flags.DurationVar(&f.timeout, "timeout", 0, "how long to wait for the answer, with -f for each; 0 is the operation's own default")
	flags.BoolVar(&f.wide, "wide", false, "do not cut lines to the width of the terminal")
}

// check completes the flags from the environment.
func (f *clientFlags) check(a *app) error {
	if _, err := fromEnvironment(f.flags, a.getenv, "addr", "token-file", "output", "timeout", "wide"); err != nil {
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
// first of the running dev cluster that lives.
func (a *app) remote(ctx context.Context) (*client.Client, error) {
	addrs, err := a.knownAddrs()
	if err != nil {
		return nil, err
	}
	c := &client.Client{Addr: a.firstLiving(ctx, addrs), PollTimeout: a.client.timeout}
	if a.client.tokenFile != "" {
		raw, err := os.ReadFile(a.client.tokenFile)
		if err != nil {
			return nil, errs.Wrap(errs.BadParameter, err, "the token cannot be read")
		}
		c.Token = strings.TrimSpace(string(raw))
	}
	return c, nil
}

// knownAddrs are the address that was named, or those of the dev cluster, if
// one runs.
func (a *app) knownAddrs() ([]string, error) {
	addrs := []string{a.client.addr}
	if a.client.addr == "" {
		addrs = newestContext(a.contextDir()).Addrs
	}
	for i, addr := range addrs {
		var err error
		if addrs[i], err = client.ParseAddr(addr); err != nil {
			return nil, err
		}
	}
	if len(addrs) == 0 {
		return []string{defaultAddr}, nil
	}
	return addrs, nil
}

// firstLiving returns the first address where a node lives, beginning with the
// one that did the last time; the first of all if none does.
func (a *app) firstLiving(ctx context.Context, addrs []string) string {
	if len(addrs) == 1 {
		return addrs[0] // whatever is wrong with it, asking it will tell
	}
	if i := slices.Index(addrs, a.living); i > 0 {
		addrs[0], addrs[i] = addrs[i], addrs[0]
	}
	for _, addr := range addrs {
		if live(ctx, addr) {
			a.living = addr
			return addr
		}
	}
	return addrs[0]
}

func live(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	return (&client.Client{Addr: addr}).Live(ctx) == nil
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
	ctx, cancel := context.WithTimeout(ctx, a.patience(method, params))
	defer cancel()
	var result json.RawMessage
	err = c.Call(ctx, method, params, &result)
	return result, err
}

// patience is a little more than the node takes at most.
func (a *app) patience(method string, params map[string]json.RawMessage) time.Duration {
	const margin = 250 * time.Millisecond
	if a.client.timeout > 0 {
		return a.client.timeout + margin
	}
	var waitMS int64
	_ = json.Unmarshal(params["wait_ms"], &waitMS) // the node says what is wrong with it
	return defaultTimeout(method) + time.Duration(waitMS)*time.Millisecond + margin
}
