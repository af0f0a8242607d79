package exec_test

import (
	"context"
	"testing"

	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
)

// BenchmarkStartToExit is the time from the start of `true` to the proof that
// nothing of it is left.
func BenchmarkStartToExit(b *testing.B) {
	r := exec.New(exec.Config{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() { cancel(); <-done }()
	task := sandbox.Task{Exec: []string{"true"}, Isolation: sandbox.IsolationNone}
	for b.Loop() {
		task.PID = newID()
		p, err := r.Start(context.Background(), task)
		if err != nil {
			continue // Run has not begun yet
		}
		<-p.Done()
	}
}
