package harness

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startOwned starts a command that the kernel kills when this process dies,
// however it dies. The returned channel is closed when the command was reaped.
//
// The kernel ties that to the thread that started the command, so one goroutine
// keeps its thread for as long as the command lives (prctl(2), PR_SET_PDEATHSIG).
func startOwned(cmd *exec.Cmd) (ended chan struct{}, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	ended = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
			close(ended)
		}
	}()
	return ended, <-started
}
