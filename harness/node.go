package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/glassbox-dev/glassbox/server/client"
)

// stopTimeout is how long a node may take to end before it is killed.
const stopTimeout = 15 * time.Second

// Node is one process of a cluster.
type Node struct {
	Name      string
	HTTP, RPC string // loopback addresses
	cluster   *Processes

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process was reaped
}

// Start starts the node's process: a new incarnation at the same addresses.
func (n *Node) Start(ctx context.Context) error {
	o := n.cluster.opts
	args := []string{"serve", "--name", n.Name, "--http", n.HTTP, "--rpc", n.RPC}
	for _, peer := range n.cluster.nodes {
		if peer != n {
			args = append(args, "--peer", peer.Name+"="+peer.RPC)
		}
	}
	if o.Preset != "" {
		args = append(args, "--preset", o.Preset)
	}
	log, err := os.OpenFile(filepath.Join(o.Dir, n.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own copy
	if o.Break {
		args = append(args, "--allow-faults")
	}
	if o.Data != "" {
		args = append(args, "--data-dir", filepath.Join(o.Data, n.Name))
	}
	args = append(args, o.Flags...)
	if o.Args != nil {
		args = o.Args(n.Name, args)
	}
	cmd := exec.Command(o.Binary, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = o.environment(), log, log
	return n.start(cmd)
}

// environment is the nodes': what this process has been told by variables is
// not meant for them.
func (o ProcessOptions) environment() []string {
	if o.Env != nil {
		return o.Env
	}
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GLASSBOX_") })
}

func (n *Node) start(cmd *exec.Cmd) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil && !closed(n.ended) {
		return fmt.Errorf("start %s: it runs already, as process %d", n.Name, n.cmd.Process.Pid)
	}
	ended, err := startOwned(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	n.cmd, n.ended = cmd, ended
	return nil
}

func (n *Node) process() (*os.Process, chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return nil, nil
	}
	return n.cmd.Process, n.ended
}

func closed(ended <-chan struct{}) bool {
	select {
	case <-ended:
		return true
	default:
		return false
	}
}

// PID returns the process's id, 0 if it was never started.
func (n *Node) PID() int {
	if p, _ := n.process(); p != nil {
		return p.Pid
	}
	return 0
}

// Running reports whether the process has not ended.
func (n *Node) Running() bool {
	_, ended := n.process()
	return ended != nil && !closed(ended)
}

// Signal sends a signal to the process.
func (n *Node) Signal(sig syscall.Signal) error {
	p, _ := n.process()
	if p == nil {
		return fmt.Errorf("%s was never started", n.Name)
	}
	return p.Signal(sig)
}

// Kill ends the process by SIGKILL and returns when it is gone.
func (n *Node) Kill() error {
	_, ended := n.process()
	if err := n.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", n.Name, err)
	}
	<-ended
	return nil
}

// freezeTimeout is how long a process may go on after SIGSTOP.
const freezeTimeout = time.Second

// Freeze stops the process without ending it, and returns when it has stopped;
// Thaw lets it go on.
func (n *Node) Freeze() error {
	if err := n.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for until := time.Now().Add(freezeTimeout); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if stopped(n.PID()) {
			return nil
		}
	}
	return fmt.Errorf("%s goes on %s after SIGSTOP", n.Name, freezeTimeout)
}

// Thaw lets a frozen process go on.
func (n *Node) Thaw() error { return n.Signal(syscall.SIGCONT) }

// Stop asks the process to leave and waits for it; after 15 s it is killed,
// which is an error. A process that has ended already is none.
func (n *Node) Stop() error {
	_, ended := n.process()
	if !n.Running() {
		return nil
	}
	_ = n.Thaw()
	if err := n.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", n.Name, err)
	}
	select {
	case <-ended:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("%s did not end within %s and was killed", n.Name, stopTimeout), n.Kill())
	}
}

// Ended is closed when the process, as last started, has ended.
func (n *Node) Ended() <-chan struct{} {
	_, ended := n.process()
	return ended
}

// Ending tells how the process ended, such as "signal: killed" or "exit status
// 1"; "" while it runs.
func (n *Node) Ending() string {
	if state := n.state(); state != nil {
		return state.String()
	}
	return ""
}

// state is how the process ended, nil if it did not or was never started.
func (n *Node) state() *os.ProcessState {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil || !closed(n.ended) {
		return nil
	}
	return n.cmd.ProcessState
}

// Client returns a client of the node's API.
func (n *Node) Client() *client.Client { return &client.Client{Addr: n.HTTP} }
