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
	task := sandbox.Task{Exec: []string{"true"}}
	for b.Loop() {
		task.PID = newID()
		p, err := r.Start(context.Background(), task)
		if err != nil {
			continue // Run has not begun yet
		}
		<-p.Done()
	}
}

// BenchmarkUsage is what a sandbox of fifty children costs to measure.
func BenchmarkUsage(b *testing.B) {
	r := exec.New(exec.Config{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var all []sandbox.Process
	for len(all) < 50 {
		p, err := r.Start(context.Background(), sandbox.Task{PID: newID(), Exec: []string{"sleep", "1000"}})
		if err == nil { // or Run has not begun yet
			all = append(all, p)
		}
	}
	for b.Loop() {
		for _, p := range all {
			if _, err := p.Usage(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
