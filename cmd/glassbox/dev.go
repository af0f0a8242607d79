package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/harness"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox/demo"
)

// devFlags say which cluster `glassbox dev` runs.
type devFlags struct {
	nodes             int
	httpPort, rpcPort int
	preset            string
	noDemo            bool
	logDir            string
	dataDir           string
	allowFaults       bool
}

// Bounds of `glassbox dev`.
const (
	maxDevNodes   = 32
	formTimeout   = 10 * time.Second
	deployTimeout = 15 * time.Second
)

// dev runs a cluster of separate processes on this machine.
func (a *app) dev() *cobra.Command {
	f := devFlags{}
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a cluster on this machine, with a demo sandbox", GroupID: "run", Args: exactly(),
		Long: "Starts nodes as separate processes on loopback and a demo sandbox on the first one. The other\n" +
			"commands find the cluster by themselves. Kill a node with kill -9 and see the others notice.\n" +
			"Ctrl-C stops everything and leaves nothing behind.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := fromEnvironment(cmd.Flags(), a.getenv, "nodes", "http-port", "rpc-port", "preset", "no-demo", "log-dir", "data-dir", "allow-faults"); err != nil {
				return err
			}
			return a.runDev(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.nodes, "nodes", 3, "how many nodes")
	flags.IntVar(&f.httpPort, "http-port", 4000, "port of the first node's HTTP; the others follow it")
	flags.IntVar(&f.rpcPort, "rpc-port", 4100, "port of the first node's RPC; the others follow it")
	flags.StringVar(&f.preset, "preset", "lan", "times of failure detection: local, lan or wan")
	flags.BoolVar(&f.noDemo, "no-demo", false, "start no demo sandbox")
	flags.StringVar(&f.logDir, "log-dir", "", "folder for the nodes' logs; without it they are kept while the cluster runs")
	flags.StringVar(&f.dataDir, "data-dir", "", "folder that keeps the sandboxes of all nodes for the next start; without it nothing is kept")
	flags.BoolVar(&f.allowFaults, "allow-faults", false, "let the commands of \"glassbox fault\" break the nodes' links on purpose")
	flags.SortFlags = false
	return cmd
}

func (f devFlags) check() error {
	switch {
	case f.nodes < 1 || f.nodes > maxDevNodes:
		return errs.BadParam("nodes", "1 to %d, not %d", maxDevNodes, f.nodes)
	case f.httpPort < 1 || f.httpPort+f.nodes-1 > 65535:
		return errs.BadParam("http-port", "1 to %d, not %d", 65535-f.nodes+1, f.httpPort)
	case f.rpcPort < 1 || f.rpcPort+f.nodes-1 > 65535:
		return errs.BadParam("rpc-port", "1 to %d, not %d", 65535-f.nodes+1, f.rpcPort)
	}
	if _, err := cluster.Preset(f.preset); err != nil {
		return err
	}
	for _, addr := range append(f.addrs(f.httpPort), f.addrs(f.rpcPort)...) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return errs.Wrap(errs.Conflict, err, "%s is in use; end what uses it (another `glassbox dev`?), or choose other ports with --http-port and --rpc-port", addr)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// addrs are the nodes' addresses from a first port on.
func (f devFlags) addrs(port int) []string {
	addrs := make([]string, f.nodes)
	for i := range addrs {
		addrs[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i))
	}
	return addrs
}

// nodeFlags are the flags that all nodes get besides those of the harness.
func (f devFlags) nodeFlags() []string {
	if f.allowFaults {
		return []string{"--allow-faults"}
	}
	return nil
}

func (a *app) runDev(ctx context.Context, f devFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	logDir, removeLogs, err := logFolder(f.logDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeLogs()) }()
	c, err := harness.StartProcesses(ctx, harness.ProcessOptions{
		Binary: exe, Nodes: f.nodes, HTTP: f.addrs(f.httpPort), RPC: f.addrs(f.rpcPort), Dir: logDir, Preset: f.preset,
		Flags: f.nodeFlags(), Data: f.dataDir,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stopDev(c)) }()
	if err := a.form(ctx, c, logDir); err != nil {
		return err
	}
	defer a.announceContext(f)()
	if !f.noDemo {
		a.deployDemo(ctx, c, exe)
	}
	a.introduce(c, logDir)
	return a.watchNodes(ctx, c)
}

// logFolder returns the folder for the logs, and what is to be done with it at
// the end.
func logFolder(dir string) (string, func() error, error) {
	if dir != "" {
		keep := func() error { return nil }
		return dir, keep, os.MkdirAll(dir, 0o755)
	}
	forgetLogs()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", devLogs, os.Getpid()))
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// devLogs is how the folders for logs begin; then comes the process's pid.
const devLogs = "glassbox-dev-"

// forgetLogs removes the folders of processes that were killed.
func forgetLogs() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), devLogs+"*"))
	if err != nil { // a temporary folder with a name like a pattern
		return
	}
	for _, dir := range dirs {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), devLogs), "-")
		pid, err := strconv.Atoi(text)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // another user's is not ours to remove
		}
	}
}

// form waits for the cluster and says how long it took. If it does not form,
// the end of the nodes' logs says why.
func (a *app) form(ctx context.Context, c *harness.Processes, logDir string) error {
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	formed, err := harness.WaitAgreed(ctx, c)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return errs.From(context.Canceled)
		}
		for _, n := range c.Nodes() {
			if raw, readErr := os.ReadFile(filepath.Join(logDir, n.Name+".log")); readErr == nil {
				fmt.Fprintf(a.err, "log of %s:\n%s", n.Name, raw[max(0, len(raw)-2000):])
			}
		}
		return errs.Wrap(errs.NodeUnavailable, err, "the nodes did not form a cluster")
	}
	fmt.Fprintf(a.out, "%d nodes formed a cluster in %d ms.\n\n", len(c.Nodes()), formed.Sub(c.Started()).Milliseconds())
	return nil
}

// announceContext lets the other commands find the cluster; what it returns
// takes that back.
func (a *app) announceContext(f devFlags) (withdraw func()) {
	dir := a.contextDir()
	if dir == "" {
		fmt.Fprintf(a.err, "glassbox: without HOME the other commands need --addr 127.0.0.1:%d\n", f.httpPort)
		return func() {}
	}
	remove, err := announce(dir, clusterContext{Cluster: "glassbox", Addrs: f.addrs(f.httpPort), PID: os.Getpid(), Started: time.Now()})
	if err != nil {
		fmt.Fprintf(a.err, "glassbox: the other commands need --addr 127.0.0.1:%d: %s\n", f.httpPort, err)
		return func() {}
	}
	return func() {
		if err := remove(); err != nil {
			fmt.Fprintln(a.err, "glassbox:", err)
		}
	}
}

// deployDemo starts the demo sandbox. The cluster is worth having without it.
func (a *app) deployDemo(ctx context.Context, c *harness.Processes, exe string) {
	ctx, cancel := context.WithTimeout(ctx, deployTimeout)
	defer cancel()
	if err := c.Nodes()[0].Client().Call(ctx, "sandbox.create", demo.Spec(exe), nil); err != nil {
		fmt.Fprintln(a.err, "glassbox: the demo sandbox was not started:", err)
	}
}

func (a *app) introduce(c *harness.Processes, logDir string) {
	t := newTable("NODE", "HTTP", "RPC", "PID")
	for _, n := range c.Nodes() {
		t.add(n.Name, "http://"+n.HTTP, n.RPC, strconv.Itoa(n.PID()))
	}
	_ = t.write(a.out, a.color, a.cutTo()) // who cannot read it does not need it
	fmt.Fprintf(a.out, "\nLogs are in %s. In another terminal try\n\n"+
		"  %[2]s status\n  %[2]s ps\n  %[2]s events -f\n  kill -9 %[3]d\n\n"+
		"Ctrl-C stops everything.\n", logDir, invocation(), c.Nodes()[len(c.Nodes())-1].PID())
}

// invocation is how this program was called.
func invocation() string { return os.Args[0] }

// watchNodes tells of each node that ends, until it is interrupted or none is
// left.
func (a *app) watchNodes(ctx context.Context, c *harness.Processes) error {
	ends := make(chan *harness.Node)
	for _, n := range c.Nodes() {
		go func() {
			select {
			case <-n.Ended():
			case <-ctx.Done():
				return
			}
			select {
			case ends <- n:
			case <-ctx.Done():
			}
		}()
	}
	for left := len(c.Nodes()); left > 0; left-- {
		select {
		case n := <-ends:
			fmt.Fprintf(a.out, "%s  %s (pid %d) ended: %s\n", time.Now().Format(time.TimeOnly), n.Name, n.PID(), n.Ending())
		case <-ctx.Done():
			return nil
		}
	}
	return errs.New(errs.NodeUnavailable, "all nodes have ended")
}

// stopDev stops what still runs.
func (a *app) stopDev(c *harness.Processes) error {
	if len(c.Running()) > 0 {
		fmt.Fprintln(a.out, "stopping …")
	}
	return c.Close()
}
