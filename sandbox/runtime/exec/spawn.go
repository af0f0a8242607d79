package exec

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// child is a keeper's process, from its start until it was reaped.
type child struct {
	process *os.Process
	said    *os.File      // what it and its guardian print
	line    *os.File      // open as long as this node lives: what it waits for
	ended   chan struct{} // closed when it was reaped
	how     string        // how it ended, valid after ended
}

// guardianCommand returns the file to run and its arguments.
func guardianCommand(command []string) (string, []string, error) {
	if len(command) == 0 {
		exe, err := os.Executable()
		// The link leads to the running file even after it was replaced.
		return "/proc/self/exe", []string{exe, "guardian"}, err
	}
	path, err := filepath.Abs(command[0])
	return path, command, err
}

// spawn starts the keeper, which starts the guardian, with its socket as
// descriptor 3 and the line to this node as 4. It runs in a session of its own, so that a terminal's Ctrl-C does not reach it, in "/", so
// that it holds no mount, and with no environment.
func spawn(path string, argv []string, socket *os.File) (*child, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	said, stderr, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	above, line, err := os.Pipe()
	if err != nil {
		said.Close()
		return nil, err
	}
	defer above.Close()
	c := &child{said: said, line: line, ended: make(chan struct{})}
	err = c.start(path, argv, &os.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1"},
		Files: []*os.File{null, null, stderr, socket, above},
		// When the node is killed a frozen keeper must wake up: then it sees the
		// line closed, and kills. To others the signal means nothing.
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGCONT},
	})
	if err != nil {
		said.Close()
		line.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return c, nil
}

// start starts the process and waits for its end, both on one thread of its
// own: the signal at the parent's death is sent when the thread ends that has
// started the child, and Go ends threads as it likes.
func (c *child) start(path string, argv []string, attr *os.ProcAttr) error {
	started := make(chan error)
	go func() { // ends with the keeper
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		process, err := os.StartProcess(path, argv, attr)
		c.process = process
		started <- err
		if err != nil {
			return
		}
		state, err := process.Wait()
		if c.how = state.String(); err != nil {
			c.how = err.Error()
		}
		close(c.ended)
	}()
	return <-started
}

// end returns when the keeper is gone for good. It is to end by itself, and is
// killed after a time.
func (c *child) end(after time.Duration) {
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		_ = c.process.Kill()
		<-c.ended
	}
	c.line.Close()
}
