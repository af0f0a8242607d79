package exec

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// child is a guardian's process, from its start until it was reaped.
type child struct {
	process *os.Process
	said    *os.File      // what it prints
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

// spawn starts the guardian with its socket as descriptor 3. It runs in a
// session of its own, so that a terminal's Ctrl-C does not reach it, in "/", so
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
	c := &child{said: said, ended: make(chan struct{})}
	err = c.start(path, argv, &os.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1"},
		Files: []*os.File{null, null, stderr, socket},
		// When the node is killed a frozen guardian must wake up: then it sees the
		// socket closed, and kills. To others the signal means nothing.
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGCONT},
	})
	if err != nil {
		said.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return c, nil
}

// start starts the process and waits for its end, both on one thread of its
// own: the signal at the parent's death is sent when the thread ends that has
// started the child, and Go ends threads as it likes.
func (c *child) start(path string, argv []string, attr *os.ProcAttr) error {
	started := make(chan error)
	go func() { // ends with the guardian
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

// kill kills the guardian and returns when it is gone for good.
func (c *child) kill() {
	_ = c.process.Kill() // it may have ended
	<-c.ended
}
