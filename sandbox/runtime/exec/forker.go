package exec

import "runtime"

// forker starts programs from one thread that is itself under landlock's rules:
// what a thread starts inherits them. So rules that all programs have in common,
// about some 65 thousand ports, cost nothing when a program is started. The thread
// never ends, for the programs die with the thread that has started them.
type forker struct {
	jobs chan func()
	err  error // it is not restricted, and must start nothing
}

// newForker makes a thread with rules.
func newForker(r rules) *forker {
	f := &forker{jobs: make(chan func())}
	ready := make(chan struct{})
	go func() {
		runtime.LockOSThread() // for good
		f.err = restrict(r)
		close(ready)
		for job := range f.jobs {
			job()
		}
	}()
	<-ready
	return f
}

// do runs a job on the thread and returns when it is done.
func (f *forker) do(job func()) error {
	if f.err != nil {
		return f.err
	}
	done := make(chan struct{})
	f.jobs <- func() { job(); close(done) }
	<-done
	return nil
}

// close ends the thread, and with it all that it has started.
func (f *forker) close() { close(f.jobs) }
