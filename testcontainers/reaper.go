package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	tc "github.com/testcontainers/testcontainers-go"
)

// runLabel is on everything that is made; its value names the process that made
// it. The library's own session label is shared by all packages under test at
// the same time, so nobody could remove by it.
const runLabel = "dev.glassbox.harness.run"

// reaperArg is the first argument of this program as a reaper, runLabel's value
// the second.
const reaperArg = "testcontainers-reaper"

// reapable: this program is known to become a reaper when it is started as one.
// If it did not, starting it again would do whatever it does, again and again.
var reapable atomic.Bool

// Reap makes the program able to clean up after itself even when it is killed.
// Call it first thing in main, before flags are parsed; in tests [Main] does.
//
// A cluster needs it: with the first one, the program starts itself again as its
// reaper, which waits until this process is gone and then removes what it left.
// That process is where Reap does not return.
func Reap() {
	if len(os.Args) == 3 && os.Args[1] == reaperArg {
		os.Exit(reap(os.Stdin, os.Args[2]))
	}
	reapable.Store(true)
}

// reapTimeout bounds the removal of all that was left.
const reapTimeout = time.Minute

// reap is the reaper: it waits until nobody holds the other end of in and then
// removes what has the label, until there is nothing for a while.
func reap(in io.Reader, label string) int {
	said, _ := io.ReadAll(in) // any end is the end
	if string(said) == reaped {
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), reapTimeout)
	defer cancel()
	api, err := tc.NewDockerClientWithOpts(ctx)
	if err != nil {
		return 1
	}
	if err := sweepAll(ctx, api, runLabel, label); err != nil {
		return 1
	}
	return 0
}

// reaped tells the reaper that there is nothing left to do.
const reaped = "reaped\n"

// reaper is the reaper of this process, as its parent has it.
type reaper struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

var ourReaper atomic.Pointer[reaper]

// startReaper starts this program again as its own reaper. It always is: even
// where the library's Ryuk can run, that one waits ten seconds.
func (e *engine) startReaper() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start the reaper: %w", err)
	}
	cmd := exec.Command(self, reaperArg, e.label)
	// It must outlive us, and what ends us from a terminal. It has no output: a
	// pipe of ours that it held open would keep `go test` waiting.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start the reaper: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the reaper: %w", err)
	}
	ourReaper.Store(&reaper{cmd, pipe})
	return nil
}

// cleanUp removes what this process has left, ends the reaper, and says how much
// there was.
func cleanUp() (removed int, err error) {
	r := ourReaper.Swap(nil)
	if r == nil { // nothing was ever made
		return 0, nil
	}
	e, err := theEngine()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), reapTimeout)
	defer cancel()
	removed, err = sweep(ctx, e.api, runLabel, e.label)
	clean := err == nil && !e.gaveUp.Load()
	return removed, errors.Join(err, r.end(clean), e.provider.Close())
}

// end ends the reaper. If nothing can be left any more it is told so and waited
// for; otherwise it looks itself, for longer than we want to wait.
func (r *reaper) end(clean bool) error {
	if !clean {
		return r.pipe.Close()
	}
	_, err := io.WriteString(r.pipe, reaped)
	return errors.Join(err, r.pipe.Close(), r.cmd.Wait())
}
